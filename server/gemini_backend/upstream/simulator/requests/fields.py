"""The request messages of Gemini's REST API: which fields there are, and of which type.

One line a message, ``name:type`` with ``*`` after a repeated type and ``{}`` after a map. ``value``
is any JSON, ``struct`` any JSON object; both are passed on untouched.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

SCALARS = frozenset({"string", "float", "int32", "bool", "bytes", "value", "struct"})

ENUMS: dict[str, tuple[str, ...]] = {
    "Type": (
        "TYPE_UNSPECIFIED",
        "STRING",
        "NUMBER",
        "INTEGER",
        "BOOLEAN",
        "ARRAY",
        "OBJECT",
        "NULL",
    ),
    "Mode": ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"),
    "HarmCategory": (
        "HARM_CATEGORY_UNSPECIFIED",
        "HARM_CATEGORY_DEROGATORY",
        "HARM_CATEGORY_TOXICITY",
        "HARM_CATEGORY_VIOLENCE",
        "HARM_CATEGORY_SEXUAL",
        "HARM_CATEGORY_MEDICAL",
        "HARM_CATEGORY_DANGEROUS",
        "HARM_CATEGORY_HARASSMENT",
        "HARM_CATEGORY_HATE_SPEECH",
        "HARM_CATEGORY_SEXUALLY_EXPLICIT",
        "HARM_CATEGORY_DANGEROUS_CONTENT",
        "HARM_CATEGORY_CIVIC_INTEGRITY",
        "HARM_CATEGORY_JAILBREAK",
    ),
    "HarmBlockThreshold": (
        "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
        "BLOCK_LOW_AND_ABOVE",
        "BLOCK_MEDIUM_AND_ABOVE",
        "BLOCK_ONLY_HIGH",
        "BLOCK_NONE",
        "OFF",
    ),
    "ThinkingLevel": ("THINKING_LEVEL_UNSPECIFIED", "LOW", "MEDIUM", "HIGH", "MINIMAL", "XHIGH"),
    "Modality": ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO"),
    "Language": ("LANGUAGE_UNSPECIFIED", "PYTHON"),
    "Outcome": (
        "OUTCOME_UNSPECIFIED",
        "OUTCOME_OK",
        "OUTCOME_FAILED",
        "OUTCOME_DEADLINE_EXCEEDED",
    ),
}

_MESSAGES = {
    "GenerateContentRequest": "model:string contents:Content* systemInstruction:Content "
    "tools:Tool* toolConfig:ToolConfig safetySettings:SafetySetting* "
    "generationConfig:GenerationConfig cachedContent:string labels:value serviceTier:value "
    "store:bool modelArmorConfig:struct continuationToken:bytes",
    "Content": "parts:Part* role:string",
    "Part": "text:string inlineData:Blob fileData:FileData functionCall:FunctionCall "
    "functionResponse:FunctionResponse executableCode:ExecutableCode "
    "codeExecutionResult:CodeExecutionResult toolCall:struct toolResponse:struct thought:bool "
    "thoughtSignature:bytes videoMetadata:struct partMetadata:struct mediaResolution:struct "
    "mediaProcessing:struct documentMetadata:struct spreadsheetMetadata:struct "
    "audioMetadata:struct audioTranscription:struct speechMetadata:struct",
    "Blob": "mimeType:string data:bytes displayName:string",
    "FileData": "mimeType:string fileUri:string displayName:string",
    "FunctionCall": "id:string name:string args:struct partialArgs:value willContinue:bool",
    "FunctionResponse": "id:string name:string response:struct parts:FunctionResponsePart* "
    "willContinue:bool scheduling:value",
    "FunctionResponsePart": "inlineData:Blob fileData:FileData mediaProcessing:struct "
    "mediaResolution:struct videoMetadata:struct",
    "ExecutableCode": "id:string language:Language code:string",
    "CodeExecutionResult": "id:string outcome:Outcome output:string",
    "Tool": "functionDeclarations:FunctionDeclaration* googleSearchRetrieval:struct "
    "codeExecution:struct googleSearch:struct computerUse:struct urlContext:struct "
    "fileSearch:struct mcpServers:value googleMaps:struct",
    "FunctionDeclaration": "name:string description:string behavior:value parameters:Schema "
    "parametersJsonSchema:value response:Schema responseJsonSchema:value",
    "Schema": "type:Type format:string title:string description:string nullable:bool enum:string* "
    "maxItems:value minItems:value properties:Schema{} required:string* minProperties:value "
    "maxProperties:value minLength:value maxLength:value pattern:string example:value "
    "anyOf:Schema* propertyOrdering:string* default:value items:Schema minimum:float "
    "maximum:float",
    "ToolConfig": "functionCallingConfig:FunctionCallingConfig retrievalConfig:struct "
    "includeServerSideToolInvocations:bool",
    "FunctionCallingConfig": "mode:Mode allowedFunctionNames:string* "
    "streamFunctionCallArguments:bool",
    "SafetySetting": "category:HarmCategory threshold:HarmBlockThreshold method:value",
    "GenerationConfig": "stopSequences:string* responseMimeType:string responseSchema:Schema "
    "responseJsonSchema:value _responseJsonSchema:value responseModalities:Modality* "
    "candidateCount:int32 maxOutputTokens:int32 temperature:float topP:float topK:float "
    "seed:int32 presencePenalty:float frequencyPenalty:float responseLogprobs:bool "
    "logprobs:int32 enableEnhancedCivicAnswers:bool speechConfig:struct "
    "thinkingConfig:ThinkingConfig imageConfig:struct mediaResolution:value "
    "translationConfig:struct audioTranscriptionConfig:struct responseFormat:value",
    "ThinkingConfig": "includeThoughts:bool thinkingBudget:int32 thinkingLevel:ThinkingLevel",
    "CountTokensRequest": "contents:Content* generateContentRequest:GenerateContentRequest",
    "EmbedContentRequest": "model:string content:Content taskType:value title:string "
    "outputDimensionality:int32 autoTruncate:bool embedContentConfig:struct",
    "BatchEmbedContentsRequest": "requests:EmbedContentRequest*",
    "CachedContent": "name:string displayName:string model:string contents:Content* "
    "systemInstruction:Content tools:Tool* toolConfig:ToolConfig ttl:string expireTime:string "
    "createTime:string updateTime:string usageMetadata:struct",
}


class Field(NamedTuple):
    """One field: its JSON name, its type, and how often it comes."""

    name: str
    type: str
    repeated: bool
    mapped: bool


@cache
def fields(message: str) -> dict[str, Field]:
    """The fields of ``message`` by each name that a client may use, camelCase and snake_case."""
    found: dict[str, Field] = {}
    for item in _MESSAGES[message].split():
        name, _, kind = item.partition(":")
        field = Field(name, kind.rstrip("*{}"), kind.endswith("*"), kind.endswith("{}"))
        found[name] = found[snake(name)] = field
    return found


@cache
def snake(name: str) -> str:
    """``maxItems`` as ``max_items``."""
    return "".join("_" + c.lower() if c.isupper() else c for c in name)

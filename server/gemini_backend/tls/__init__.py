"""The server's certificates: loaded, watched for changes, and how long they are still valid."""

from gemini_backend.tls.expiry import CertificateHealth
from gemini_backend.tls.live import LiveCertificates
from gemini_backend.tls.material import Material, load

__all__ = ["CertificateHealth", "LiveCertificates", "Material", "load"]

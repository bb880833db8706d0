"""The services of the contract: one file per service, messages in and out, no transport."""

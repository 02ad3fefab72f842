"""Settings all tests share: an Output in an f-string is an error, and what is rendered is rendered once."""

import os

os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "true"

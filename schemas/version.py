"""The version of the code, written into every row that it builds."""

VERSION = "0.1.0"
CODE_VERSION = f"tutelage {VERSION}"

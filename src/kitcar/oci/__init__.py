"""The nouns of OCI and the graph they form: values, storage protocols, the verifying reader, copy. No I/O, no third party."""

"""The nodes: which Ray is joined, what its nodes have, and what each of them keeps."""

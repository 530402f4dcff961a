"""The project's own files: avatar files, histories, manifests, atomic writes, content hashes."""

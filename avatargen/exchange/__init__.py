"""Exchange with other software: export avatars as glTF, import meshes of other systems."""

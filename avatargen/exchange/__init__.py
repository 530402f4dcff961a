"""To and from other software: glTF export, import of other systems' meshes."""

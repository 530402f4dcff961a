"""Everything that judges an avatar; reads avatar files and knows nothing of how they were made."""

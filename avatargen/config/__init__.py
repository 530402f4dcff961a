"""What a user configures: settings, experiments, prompt lists, plug-ins, input errors. Imports no torch."""

//! The Container Network Interface protocol for plugins: environment, configuration, results and errors as values.

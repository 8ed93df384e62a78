//! archetypes

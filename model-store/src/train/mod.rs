//! From runs to a published model.

//! Tests of behaviour, from outside.

mod library;

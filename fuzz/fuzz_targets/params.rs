#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| ploke_io::fuzzing::params(input));

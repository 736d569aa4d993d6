#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ploke_io::fuzzing::records(input));

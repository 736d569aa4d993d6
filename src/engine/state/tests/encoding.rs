//! What is written is read again, and nothing else is.

use super::*;

#[test]
fn what_was_encoded_is_decoded() {
    assert_eq!(Record::decode(&every_action().encode()), Ok(every_action()));
    assert_eq!(UndoEntry::decode(&every_undo_step().encode_behind(0)), Ok(every_undo_step()));
}

#[test]
fn what_is_cut_off_altered_or_of_another_kind_is_torn() {
    let record = every_action().encode();
    for length in 0..record.len() {
        assert_eq!(Record::decode(&record[..length]), Err(DecodeError::Torn), "{length} bytes");
    }
    for index in 0..record.len() {
        let mut altered = record.clone();
        altered[index] ^= 0x10;
        assert_eq!(Record::decode(&altered), Err(DecodeError::Torn), "byte {index}");
    }
    assert_eq!(Record::decode(&every_undo_step().encode_behind(0)), Err(DecodeError::Torn));
}

proptest! {
    /// With a right checksum, so that the fields themselves are read.
    #[test]
    fn no_bytes_make_decoding_panic(fields in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in [Kind::Transaction, Kind::Undo] {
            let mut encoder = Encoder::new(kind);
            fields.iter().for_each(|byte| encoder.tag(*byte));
            let bytes = encoder.finish();
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes.clone());
            }
            if let Ok(entry) = UndoEntry::decode(&bytes) {
                prop_assert_eq!(entry.encode_behind(0), bytes);
            }
        }
    }
}

/// Each time has one form, or else the same record could have two checksums.
#[test]
fn a_time_no_nanosecond_before_the_epoch_is_torn() {
    let time = |sign: u8, nanos: u64| {
        let mut encoder = Encoder::new(Kind::Transaction);
        encoder.tag(sign);
        encoder.number(0);
        encoder.number(nanos);
        Decoder::new(&encoder.finish(), Kind::Transaction).unwrap().time()
    };
    assert_eq!(time(0, 0), Ok(SystemTime::UNIX_EPOCH));
    assert_eq!(time(1, 1), Ok(SystemTime::UNIX_EPOCH - Duration::from_nanos(1)));
    for (sign, nanos) in [(1, 0), (2, 0), (0, 1_000_000_000)] {
        assert_eq!(time(sign, nanos), Err(DecodeError::Torn), "{sign} {nanos}");
    }
}

#[test]
fn a_path_that_leads_out_of_its_root_is_not_accepted() {
    for relative in ["../x", "a/../../x", "/x", ""] {
        let step = Step {
            at: at(relative),
            action: Action::Write { old: None, new: Vec::new(), temp: ".t".into(), metadata: metadata() },
        };
        let record = Record { origin: Uuid::nil(), roots: Vec::new(), steps: vec![step] };
        assert_eq!(Record::decode(&record.encode()), Err(DecodeError::Torn), "{relative:?}");
    }
}

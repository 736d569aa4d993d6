//! Numbers with a smallest and a largest value.

use std::{borrow::Cow, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// An integer from `MIN` to `MAX`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Bounded<const MIN: u64, const MAX: u64>(u64);

/// A number is too small or too large, or no number at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given} is not an integer from {min} to {max}")]
pub struct OutOfBounds {
    given: String,
    min: u64,
    max: u64,
}

impl<const MIN: u64, const MAX: u64> Bounded<MIN, MAX> {
    pub fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> TryFrom<u64> for Bounded<MIN, MAX> {
    type Error = OutOfBounds;

    fn try_from(number: u64) -> Result<Self, OutOfBounds> {
        if (MIN..=MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(OutOfBounds { given: number.to_string(), min: MIN, max: MAX })
        }
    }
}

impl<const MIN: u64, const MAX: u64> FromStr for Bounded<MIN, MAX> {
    type Err = OutOfBounds;

    fn from_str(text: &str) -> Result<Self, OutOfBounds> {
        let number: u64 = text.parse().map_err(|_| OutOfBounds { given: format!("`{text}`"), min: MIN, max: MAX })?;
        number.try_into()
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Bounded<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Integer_{MIN}_to_{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Percent = Bounded<1, 100>;

    #[test]
    fn numbers_inside_the_bounds_are_taken() {
        assert_eq!(Percent::try_from(1).map(Percent::get), Ok(1));
        assert_eq!("100".parse().map(Percent::get), Ok(100));
        assert_eq!(serde_json::from_str::<Percent>("50").unwrap().get(), 50);
    }

    #[test]
    fn others_are_refused_with_the_bounds() {
        let refused = |result: Result<Percent, OutOfBounds>| result.unwrap_err().to_string();
        assert_eq!(refused(0.try_into()), "0 is not an integer from 1 to 100");
        assert_eq!(refused("101".parse()), "101 is not an integer from 1 to 100");
        assert_eq!(refused("ten".parse()), "`ten` is not an integer from 1 to 100");
        assert!(serde_json::from_str::<Percent>("0").unwrap_err().to_string().starts_with("0 is not an integer"));
        assert!(serde_json::from_str::<Percent>("-1").is_err());
        assert!(serde_json::from_str::<Percent>("1.5").is_err());
    }
}

//! JSON objects whose keys are URIs.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::FileUri;

/// An object with a value per file, in the order of the message; no file stands in it twice, however it is spelled.
#[derive(Debug, Clone, PartialEq)]
pub struct UriMap<V>(Vec<(FileUri, V)>);

impl<V> UriMap<V> {
    pub fn iter(&self) -> impl Iterator<Item = (&FileUri, &V)> {
        self.0.iter().map(|(uri, value)| (uri, value))
    }
}

impl<V> Default for UriMap<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> IntoIterator for UriMap<V> {
    type Item = (FileUri, V);
    type IntoIter = std::vec::IntoIter<(FileUri, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UriMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> de::Visitor<'de> for Visitor<V> {
            type Value = UriMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `file:` URIs as keys")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<UriMap<V>, A::Error> {
                let mut seen = HashSet::new();
                let mut entries = Vec::new();
                while let Some(uri) = map.next_key::<FileUri>()? {
                    if !seen.insert(uri.clone()) {
                        return Err(de::Error::custom(format_args!("{uri} names a file that stands here already")));
                    }
                    entries.push((uri, map.next_value()?));
                }
                Ok(UriMap(entries))
            }
        }
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

impl<V: JsonSchema> JsonSchema for UriMap<V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("UriMap_of_{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<V>();
        let keys = generator.subschema_for::<FileUri>();
        json_schema!({ "type": "object", "propertyNames": keys, "additionalProperties": values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_message_is_kept() {
        let map: UriMap<u8> = serde_json::from_str(r#"{"file:///b":1,"file:///a":2,"file:///c":3}"#).unwrap();
        let order: Vec<_> = map.iter().map(|(uri, value)| (uri.as_str(), *value)).collect();
        assert_eq!(order, [("file:///b", 1), ("file:///a", 2), ("file:///c", 3)]);
    }

    #[test]
    fn a_file_named_twice_is_refused_however_it_is_spelled() {
        for text in [
            r#"{"file:///a":1,"file:///a":2}"#,
            r#"{"file:///a":1,"file:///%61":2}"#,
            r#"{"file:///d/a":1,"file:/d//a":2}"#,
        ] {
            let error = serde_json::from_str::<UriMap<u8>>(text).unwrap_err().to_string();
            assert!(error.contains("stands here already"), "{error}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let error = serde_json::from_str::<UriMap<u8>>("[]").unwrap_err().to_string();
        assert!(error.contains("expected an object with `file:` URIs as keys"), "{error}");
    }
}

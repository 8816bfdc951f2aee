//! The record's form: an in-toto Statement v1 [in-toto Attestation Framework, Statement] with a SLSA Provenance v1 predicate
//! [SLSA 1.0, Provenance].

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::contents::Sha;
use crate::cloud::hex;

/// Types of the record, by which readers know it.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
pub const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// How the parameters are to be read: this repository's `docs/images.md` says.
const BUILD_TYPE: &str = "urn:capos:build-type:disk-image:1";
const BUILDER: &str = "urn:capos:builder:make";

/// What is recorded.
pub struct Statement {
    /// Everything that was built: names with hashes.
    pub subjects: BTreeMap<String, Sha>,
    /// What the caller chose.
    pub parameters: Value,
    /// What the result was built of and with.
    pub materials: Vec<Value>,
    /// What was built on the side, as the list of components.
    pub byproducts: BTreeMap<String, Sha>,
}

impl Statement {
    /// The record as JSON. It holds no time, so that the same build gives the same record.
    pub fn to_json(&self) -> Value {
        json!({
            "_type": STATEMENT,
            "subject": descriptors(&self.subjects),
            "predicateType": PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": self.parameters,
                    "internalParameters": {},
                    "resolvedDependencies": self.materials,
                },
                "runDetails": {
                    "builder": { "id": BUILDER, "version": { "capos-tools": env!("CARGO_PKG_VERSION") } },
                    "byproducts": descriptors(&self.byproducts),
                },
            },
        })
    }
}

fn descriptors(files: &BTreeMap<String, Sha>) -> Vec<Value> {
    files.iter().map(|(name, sha)| json!({ "name": name, "digest": { "sha256": hex(sha) } })).collect()
}

/// What a record says, once its form is checked.
#[derive(Debug)]
pub struct Claims {
    /// Names with hashes in hexadecimal digits.
    pub subjects: BTreeMap<String, String>,
    /// The same of what was built on the side.
    pub byproducts: BTreeMap<String, String>,
}

impl Claims {
    /// Reads a record.
    pub fn read(text: &str) -> Result<Self> {
        let record: Value = serde_json::from_str(text).context("the record is not JSON")?;
        let kind = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or("none").to_owned();
        ensure!(kind("_type") == STATEMENT, "the record's _type is {}, not {STATEMENT}", kind("_type"));
        ensure!(
            kind("predicateType") == PREDICATE,
            "the record's predicateType is {}, not {PREDICATE}",
            kind("predicateType")
        );
        let build = record.pointer("/predicate/buildDefinition/buildType").and_then(Value::as_str);
        ensure!(build == Some(BUILD_TYPE), "the record's buildType is {}", build.unwrap_or("none"));
        Ok(Self {
            subjects: digests(record.get("subject"), "subject")?,
            byproducts: digests(record.pointer("/predicate/runDetails/byproducts"), "byproducts")?,
        })
    }
}

fn digests(list: Option<&Value>, what: &str) -> Result<BTreeMap<String, String>> {
    let list = list.and_then(Value::as_array).with_context(|| format!("the record has no list {what:?}"))?;
    let mut digests = BTreeMap::new();
    for entry in list {
        let name = entry.get("name").and_then(Value::as_str);
        let name = name.with_context(|| format!("an entry of {what:?} has no name"))?;
        let sha = entry.pointer("/digest/sha256").and_then(Value::as_str);
        let sha = sha.with_context(|| format!("{name} has no sha256 in the record"))?;
        ensure!(
            sha.len() == 64 && sha.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "the sha256 of {name} in the record is {sha:?}"
        );
        ensure!(
            digests.insert(name.to_owned(), sha.to_ascii_lowercase()).is_none(),
            "{name} is in the record twice"
        );
    }
    Ok(digests)
}

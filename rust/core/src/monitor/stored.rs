//! Monitors to bytes and back: `TTDRIFT\n`, the version, the body in `MessagePack` with fields by name, and the SHA-256 of
//! everything before. Bytes are accepted only if the checksum holds and the parts fit each other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bets::CELLS;
use super::capital::{Capital, Draws};
use super::cuts::{Cuts, Ranked};
use super::drift::{Drift, Quantity, Sums};
use super::report::Alarm;
use super::watched::Watched;
use crate::error::{Error, Result};
use crate::policy::Policy;

const MAGIC: &[u8; 8] = b"TTDRIFT\n";
const VERSION: u32 = 2;
const CHECKSUM: usize = 32;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(with = "serde_bytes_of")]
    policy: Vec<u8>,
    alpha: f64,
    seed: u64,
    requests: u64,
    alarm: Option<Alarm>,
    quantities: Vec<StoredQuantity>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredQuantity {
    stage: u32,
    watched: Watched,
    edge: [f64; CELLS - 1],
    word: [u64; CELLS - 1],
    gap: [f64; CELLS],
    reference: Sums,
    stream: Sums,
    draws: Draws,
}

/// Bytes as bytes, not as a list of numbers.
mod serde_bytes_of {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
                to.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

impl Drift {
    /// The monitor as bytes: one read back goes on exactly where this one is.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be encoded (out of memory).
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let of = |quantity: &Quantity| StoredQuantity {
            stage: quantity.stage as u32,
            watched: quantity.watched,
            edge: quantity.cuts.edge.map(|edge| edge.value),
            word: quantity.cuts.edge.map(|edge| edge.word),
            gap: quantity.cuts.gap,
            reference: quantity.reference,
            stream: quantity.stream,
            draws: quantity.capital.draws().clone(),
        };
        let stored = Stored {
            policy: self.policy.to_bytes()?,
            alpha: self.alpha,
            seed: self.seed,
            requests: self.requests,
            alarm: self.alarm,
            quantities: self.quantities.iter().map(of).collect(),
        };
        let body = rmp_serde::to_vec_named(&stored)
            .map_err(|error| Error::format(format!("cannot encode the drift monitor: {error}")))?;
        let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes(), &body].concat();
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok(bytes)
    }

    /// The monitor that [`Drift::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Format`] for anything else: damaged, of another version, or of parts that do not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let refuse = |why: &str| Error::format(why);
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(refuse("this is no drift monitor: the first 8 bytes are not its magic"));
        };
        let split = rest.split_last_chunk::<CHECKSUM>().and_then(|(head, sum)| Some((head.split_first_chunk()?, sum)));
        let Some(((version, body), checksum)) = split else {
            return Err(refuse("the drift monitor is truncated"));
        };
        if Sha256::digest(&bytes[..bytes.len() - CHECKSUM]).as_slice() != checksum {
            return Err(refuse("the drift monitor is damaged: its checksum does not match"));
        }
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            let message = format!("drift monitor version {version} is not readable by this one, which reads {VERSION}");
            return Err(Error::Format(message));
        }
        let mut left = body;
        let stored = Stored::deserialize(&mut rmp_serde::Deserializer::new(&mut left))
            .map_err(|error| Error::format(format!("the drift monitor is damaged: {error}")))?;
        if !left.is_empty() {
            return Err(refuse("the drift monitor is damaged: bytes are left over"));
        }
        Self::restored(stored)
    }

    fn restored(stored: Stored) -> Result<Self> {
        let refuse = |what: &str| Error::format(format!("the drift monitor is damaged: {what}"));
        let policy = Arc::new(Policy::from_bytes(&stored.policy)?);
        if !(stored.alpha > 0.0 && stored.alpha < 1.0) {
            return Err(refuse("alpha is not between 0 and 1"));
        }
        let mut drift = Self::empty(policy, stored.alpha, stored.seed);
        if stored.alarm.is_some_and(|alarm| alarm.component as usize >= stored.quantities.len()) {
            return Err(refuse("the alarm is of a quantity that is not there"));
        }
        let mut draws = Vec::with_capacity(stored.quantities.len());
        let mut before = None;
        for one in stored.quantities {
            let stage = one.stage as usize;
            let place = Some((stage, one.watched as usize));
            let is_first = drift.entry() == Some(stage);
            let excluded = if is_first { Watched::Consulted } else { Watched::Difficulty };
            if stage >= drift.policy.stages().len() || before >= place || one.watched == excluded {
                return Err(refuse("a quantity is of no stage, there twice, or of one that has none"));
            }
            before = place;
            let sorted = one.edge.windows(2).all(|pair| pair[0] <= pair[1]);
            let counts = one.gap.iter().all(|gap| *gap >= 1.0 && *gap <= 2_f64.powi(53) && gap.fract() == 0.0);
            if !sorted || !counts || one.edge.iter().any(|edge| edge.is_nan()) || !one.draws.is_sound() {
                return Err(refuse("a quantity has numbers that do not fit"));
            }
            let edge = std::array::from_fn(|cell| Ranked { value: one.edge[cell], word: one.word[cell] });
            let cuts = Cuts { edge, gap: one.gap };
            let book = drift.books.of(one.watched);
            let capital = Capital::new(Draws::new(&cuts.gap, book), book, 0.0);
            let key = one.watched.key(stage, drift.seed);
            let (watched, reference, stream) = (one.watched, one.reference, one.stream);
            drift.quantities.push(Quantity { stage, watched, key, cuts, reference, stream, capital });
            draws.push(one.draws);
        }
        drift.index();
        let limits: Vec<f64> = drift.quantities.iter().map(|quantity| drift.limit(quantity.watched)).collect();
        for (number, (draws, limit)) in draws.into_iter().zip(limits).enumerate() {
            let capital = Capital::new(draws, drift.books.of(drift.quantities[number].watched), limit);
            drift.quantities[number].capital = capital;
        }
        drift.requests = stored.requests;
        drift.alarm = stored.alarm;
        Ok(drift)
    }
}

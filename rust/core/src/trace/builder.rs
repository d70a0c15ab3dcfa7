//! Traces gathered batch by batch, in bounded memory.

use sha2::{Digest, Sha256};

use super::added::{Added, Columns, Costs, plural};
use super::content::{Kind, Trace};
use super::cost::Cost;
use super::sample::{Place, Rows};
use super::table::Table;
use super::total::Totals;
use crate::error::{Error, Result};
use crate::random::{STEP, mix};

/// Where requests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// How many requests have come from it.
    pub count: u64,
}

/// Collects requests and keeps a uniform sample of them.
#[derive(Clone, Debug)]
pub struct Builder {
    stages: usize,
    capacity: Option<usize>,
    seed: u64,
    sources: Vec<Source>,
    /// Number of the source that is appended to.
    own: u32,
    /// Start and mask of the words of that source.
    words: (u64, u64),
    columns: Option<Columns>,
    rows: Rows,
    /// Rows of higher places are not kept.
    highest: Option<Place>,
    totals: Totals,
}

impl Builder {
    /// Keeps at most `capacity` requests, at least 1; none: all. Requests appended to it come from `source`.
    ///
    /// # Errors
    /// [`Error::Invalid`] without stages or room.
    pub fn new(stages: usize, capacity: Option<usize>, source: &str, seed: u64) -> Result<Self> {
        if stages == 0 || capacity == Some(0) {
            return Err(Error::invalid("`stages` and `capacity` must be at least 1, got 0"));
        }
        Ok(Self {
            stages,
            capacity,
            seed,
            sources: vec![Source { name: source.into(), count: 0 }],
            own: 0,
            words: words(seed, source),
            columns: None,
            rows: Rows::new(0, 0),
            highest: None,
            totals: Totals::zero(stages),
        })
    }

    /// Adds requests; nothing is added where an error is returned. O(m k), amortised.
    ///
    /// # Errors
    /// [`Error::Invalid`] for numbers of entries that do not fit, numbers that are not those of a trace, losses that are
    /// infinite where those of their stage before were finite, or the other way round, and columns that other batches
    /// have and this one has not, or the other way round.
    pub fn append(&mut self, added: &Added) -> Result<()> {
        let k = self.stages;
        let m = added.signal.len() / k;
        added.check(m, k, &self.totals.is_probe)?;
        if m == 0 {
            return Ok(());
        }
        let columns = Columns::of(added);
        self.fit_columns(columns, "all batches or in none: the batches before")?;
        let (own, (start, mask)) = (self.own, self.words);
        let Some(source) = self.sources.get_mut(own as usize) else { return Ok(()) };
        let first = source.count;
        source.count += m as u64;
        let alike = match added.cost {
            Costs::Alike(cost) if added.weight.is_none() => cost,
            _ => &[],
        };
        for row in 0..m {
            let cells = row * k..(row + 1) * k;
            let (signal, loss) = (&added.signal[cells.clone()], &added.loss[cells.clone()]);
            let cost = added.cost.of_row(row, k);
            let weight = added.weight.map(|weight| weight[row]);
            self.totals.add(loss, if alike.is_empty() { cost } else { &[] }, weight);
            let number = first + row as u64;
            let priority = mix(number.wrapping_add(start).wrapping_mul(STEP) ^ mask);
            let place = Place { priority, source: own, number };
            if self.highest.is_none_or(|highest| place < highest) {
                let said = added.prediction.map_or(&[][..], |said| &said[cells.clone()]);
                let took = added.latency.map_or(&[][..], |latency| &latency[cells.clone()]);
                let chance = added.propensity.map_or(&[][..], |propensity| &propensity[cells]);
                let floats = signal.iter().chain(loss).chain(cost).chain(took).chain(chance).copied().chain(weight);
                self.rows.push(place, floats, said.iter().copied().chain(added.group.map(|group| group[row])));
            }
        }
        for (sum, cost) in self.totals.cost.iter_mut().zip(alike) {
            sum.known.add(*cost, m as u64);
        }
        self.trim_if_full();
        Ok(())
    }

    /// Takes on the columns of the first rows; later ones must have the same.
    fn fit_columns(&mut self, columns: Columns, where_else: &str) -> Result<()> {
        let Some(known) = self.columns else {
            self.columns = Some(columns);
            self.rows = Rows::new(columns.floats(self.stages), columns.integers(self.stages));
            return Ok(());
        };
        if let Some((name, has)) = known.first_difference(columns) {
            let have = if has { "have no" } else { "have" };
            return Err(Error::invalid(format!("`{name}` must be in {where_else} {have} {}", plural(name))));
        }
        Ok(())
    }

    fn trim_if_full(&mut self) {
        if let Some(capacity) = self.capacity.filter(|capacity| self.rows.is_full(*capacity)) {
            self.highest = self.rows.trim(capacity).or(self.highest);
        }
    }

    /// Lets go of rows beyond the capacity. O(kept rows).
    pub fn trim(&mut self) {
        if let Some(capacity) = self.capacity {
            self.highest = self.rows.trim(capacity).or(self.highest);
        }
    }

    /// A builder with the requests of all, which appends to the source of the first. Sources are numbered
    /// alphabetically, so that nothing depends on the order or grouping of merges. O(kept rows).
    ///
    /// # Errors
    /// [`Error::Invalid`] where they share a source, some have columns that others have not, or losses of a stage are
    /// infinite here and finite there.
    pub fn merged(builders: &[Self]) -> Result<Self> {
        let Some(first) = builders.first() else { return Err(Error::invalid("`others` must not be empty")) };
        let own = first.own_name().to_owned();
        let mut merged = Self::new(first.stages, first.capacity, &own, first.seed)?;
        merged.sources.clear();
        for (at, one) in builders.iter().enumerate() {
            let entry = at.wrapping_sub(1);
            for source in one.sources.iter().filter(|source| source.count > 0) {
                if merged.sources.iter().any(|known| known.name == source.name) {
                    let message = format!(
                        "`others` entry {entry} must have sources of its own, got '{}' again: give every builder another \
                         `source`",
                        source.name
                    );
                    return Err(Error::invalid(message));
                }
                merged.sources.push(source.clone());
            }
            if let Some(columns) = one.columns {
                merged.fit_columns(columns, "all builders or in none").map_err(|_| differs(entry, &merged, columns))?;
            }
            if let Some(stage) = merged.totals.first_conflict(&one.totals) {
                return Err(conflicts(entry, stage, merged.totals.is_probe[stage] == Some(true)));
            }
            merged.totals.add_all(&one.totals);
        }
        if merged.sources.iter().all(|source| source.name != own) {
            merged.sources.push(Source { name: own.clone(), count: 0 });
        }
        merged.sources.sort_by(|a, b| a.name.cmp(&b.name));
        let place = |name: &str| merged.sources.iter().position(|source| source.name == name).unwrap_or(0) as u32;
        let own = place(&own);
        let numbers: Vec<Vec<u32>> =
            builders.iter().map(|one| one.sources.iter().map(|source| place(&source.name)).collect()).collect();
        merged.own = own;
        for (one, source) in builders.iter().zip(numbers) {
            merged.rows.extend(&one.rows, &source);
            merged.trim_if_full();
        }
        merged.trim();
        Ok(merged)
    }

    /// The trace of the kept requests, by source in alphabetical order, each in the order they were appended.
    ///
    /// # Errors
    /// [`Error::Invalid`] if nothing has been appended, the losses of no stage that answers are known in what is kept, or
    /// names or weights are not those of a trace.
    pub fn build(&self, kind: Kind, names: Vec<String>, teacher: Option<&str>) -> Result<Trace> {
        let Some(columns) = self.columns else {
            return Err(Error::invalid("a trace needs at least one row: nothing has been appended"));
        };
        let mut kept = self.rows.clone();
        if let Some(capacity) = self.capacity {
            kept.trim(capacity);
        }
        let kept = kept.sorted();
        let (n, k) = (kept.len(), self.stages);
        let table = |from: usize| Table::from_fn(n, k, |row, column| kept.float(row)[from + column]);
        let mut trace = Trace::new(table(0), table(k), Cost::Rows(table(2 * k)), kind)?.named(names)?;
        if columns.prediction {
            trace = trace.predicted(Table::from_fn(n, k, |row, column| kept.integer(row)[column]))?;
        }
        if columns.latency {
            trace = trace.timed(table(3 * k))?;
        }
        if columns.propensity {
            trace = trace.with_propensity(table(columns.propensity_from(k)))?;
        }
        let weight = |row: usize| kept.float(row).last().copied().unwrap_or(0.0);
        let group = |row: usize| kept.integer(row).last().copied().unwrap_or(0);
        let trace = trace.weighted(columns.weight.then(|| (0..n).map(weight).collect()))?;
        Ok(trace.grouped(columns.group.then(|| (0..n).map(group).collect()))?.taught(teacher))
    }

    /// Names of the source that is appended to.
    pub fn own_name(&self) -> &str {
        self.sources.get(self.own as usize).map_or("", |source| &source.name)
    }

    /// Where requests came from.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// How many requests have been appended, here and in what was merged.
    pub fn requests(&self) -> u64 {
        self.sources.iter().map(|source| source.count).sum()
    }

    /// What rows have besides signals, losses and costs; none before there are rows.
    pub fn columns(&self) -> Option<Columns> {
        self.columns
    }

    /// Sums over all requests.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The rows that are kept.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The builder that these were taken from; rows are (source, number) with their numbers.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the parts do not fit each other.
    pub fn restored(
        mut self,
        sources: Vec<Source>,
        totals: Totals,
        place: &[(u32, u64)],
        added: &Added,
    ) -> Result<Self> {
        let own = self.own_name().to_owned();
        let named = |name: &str| sources.iter().position(|source| source.name == name);
        let distinct = sources.iter().enumerate().all(|(at, source)| named(&source.name) == Some(at));
        let fits = [totals.loss.len(), totals.cost.len(), totals.is_probe.len()] == [self.stages; 3];
        let Some(own) = named(&own).filter(|_| distinct && fits) else {
            return Err(Error::invalid("sources or totals do not fit"));
        };
        let known = |(source, number): &(u32, u64)| sources.get(*source as usize).is_some_and(|s| *number < s.count);
        if place.len() != added.signal.len() / self.stages || !place.iter().all(known) {
            return Err(Error::invalid("a row is of a source that is not there"));
        }
        let all = sources.iter().fold(0_u64, |all, source| all.saturating_add(source.count));
        let most = self.capacity.map_or(all, |capacity| all.min(capacity as u64));
        if place.len() as u64 != most {
            return Err(Error::invalid("rows are missing or left over"));
        }
        self.append(added)?;
        if self.totals.is_probe.iter().zip(&totals.is_probe).any(|(kept, all)| kept.is_some() && kept != all) {
            return Err(Error::invalid("totals do not fit the losses of the rows"));
        }
        let starts: Vec<_> = sources.iter().map(|source| words(self.seed, &source.name)).collect();
        self.rows.place_at(place.iter().map(|(source, number)| {
            let (start, mask) = starts[*source as usize];
            Place {
                priority: mix(number.wrapping_add(start).wrapping_mul(STEP) ^ mask),
                source: *source,
                number: *number,
            }
        }));
        self.highest = None;
        (self.sources, self.totals, self.own) = (sources, totals, own as u32);
        Ok(self)
    }
}

/// Start and mask of the words of a source: of request i, mix((i + start) · step ⊕ mask).
fn words(seed: u64, source: &str) -> (u64, u64) {
    let digest = Sha256::digest(format!("{seed}:{source}"));
    let word = |from: usize| digest.iter().skip(from).take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    (word(0), word(8))
}

/// A group number for a text: the same in every process; equal texts have equal ones.
pub fn group_of_text(text: &str) -> i64 {
    Sha256::digest(text).iter().take(8).fold(0_u64, |word, byte| word << 8 | u64::from(*byte)) as i64
}

fn differs(entry: usize, merged: &Builder, columns: Columns) -> Error {
    let known = merged.columns.unwrap_or(columns);
    let (name, has) = known.first_difference(columns).unwrap_or(("prediction", false));
    let names = plural(name);
    let with = if has { "with" } else { "without" };
    Error::invalid(format!(
        "`others` entry {entry} must have {names} exactly if the builders before it have, got one {with}"
    ))
}

fn conflicts(entry: usize, stage: usize, is_probe: bool) -> Error {
    let (had, has) = if is_probe { ("infinite", "finite") } else { ("finite", "infinite") };
    Error::invalid(format!(
        "`others` entry {entry} must have {had} losses in column {stage}, as the builders before it have, got {has} ones"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::total::Total;
    use super::*;

    fn added<'a>(signal: &'a [f64], loss: &'a [f64], cost: &'a [f64]) -> Added<'a> {
        let cost = Costs::Alike(cost);
        Added { signal, loss, cost, prediction: None, weight: None, latency: None, group: None, propensity: None }
    }

    fn filled(source: &str, rows: u64, batch: usize) -> Result<Builder> {
        let mut builder = Builder::new(1, Some(50), source, 7)?;
        let numbers: Vec<f64> = (0..rows).map(|row| row as f64).collect();
        for part in numbers.chunks(batch) {
            builder.append(&Added { cost: Costs::Rows(part), ..added(part, part, &[]) })?;
        }
        Ok(builder)
    }

    #[test]
    fn batches_and_merges_do_not_matter() -> Result<()> {
        let kept =
            |builder: &Builder| builder.build(Kind::Models, vec!["a".into()], None).map(|t| t.signal(0).to_vec());
        let (one, other) = (filled("x", 5000, 1)?, filled("y", 300, 7)?);
        assert_eq!(kept(&one)?, kept(&filled("x", 5000, 5000)?)?);
        let (there, back) = (Builder::merged(&[one.clone(), other.clone()])?, Builder::merged(&[other, one])?);
        assert_eq!(kept(&there)?, kept(&back)?);
        assert_eq!((there.requests(), there.own_name(), back.own_name()), (5300, "x", "y"));
        assert_eq!(there.totals(), back.totals());
        assert_eq!(there.rows().len(), 50);
        Ok(())
    }

    #[test]
    fn nothing_is_added_where_something_is_wrong() -> Result<()> {
        let mut builder = filled("x", 10, 10)?;
        for wrong in [
            added(&[1.0], &[-1.0], &[1.0]),
            added(&[1.0], &[1.0], &[f64::NAN]),
            added(&[1.0], &[1.0, 2.0], &[1.0]),
            Added { weight: Some(&[f64::INFINITY]), ..added(&[1.0], &[1.0], &[1.0]) },
            Added { group: Some(&[1]), ..added(&[1.0], &[1.0], &[1.0]) },
            Added { latency: Some(&[-0.5]), ..added(&[1.0], &[1.0], &[1.0]) },
            Added { latency: Some(&[0.5]), ..added(&[1.0], &[1.0], &[1.0]) },
        ] {
            assert!(builder.append(&wrong).is_err(), "{wrong:?}");
        }
        builder.append(&added(&[], &[], &[1.0]))?;
        assert_eq!(builder.requests(), 10);
        Ok(())
    }

    #[test]
    fn optional_columns_come_out_again() -> Result<()> {
        let mut builder = Builder::new(2, None, "", 0)?;
        let (signal, loss) = ([0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 1.0, 1.0]);
        let said = [1, 2, 3, 4];
        let rows = Added {
            prediction: Some(&said),
            weight: Some(&[1.0, 3.0]),
            latency: Some(&[0.5, 0.25, 1.0, f64::NAN]),
            group: Some(&[5, 6]),
            propensity: Some(&[1.0, 0.5, 0.25, 1.0]),
            ..added(&signal, &loss, &[1.0, 2.0])
        };
        builder.append(&rows)?;
        let trace = builder.build(Kind::Exits, vec!["a".into(), "b".into()], Some("b"))?;
        assert_eq!(trace.given_weight(), Some(&[1.0, 3.0][..]));
        assert_eq!(trace.latency(0), Some(&[0.5, 1.0][..]));
        assert_eq!(trace.latency(1).map(|took| (took[0], took[1].is_nan())), Some((0.25, true)));
        assert_eq!(trace.group(), Some(&[5, 6][..]));
        assert_eq!(trace.propensity().map(|chance| chance.column(1)), Some(&[0.5, 1.0][..]));
        assert_eq!(trace.teacher(), Some("b"));
        assert_eq!(trace.prediction(1), Some(&[2, 4][..]));
        let mut twice = Total::ZERO;
        twice.add(3.0, 1);
        assert_eq!(builder.totals().loss[0].known, twice);
        Ok(())
    }

    #[test]
    fn sums_are_those_of_what_is_known() -> Result<()> {
        let nan = f64::NAN;
        let mut builder = Builder::new(2, None, "", 0)?;
        let cost = Costs::Rows(&[1.0, nan, 2.0, 4.0]);
        builder.append(&Added {
            cost,
            weight: Some(&[3.0, 1.0]),
            ..added(&[0.5, nan, 0.5, 0.5], &[nan, nan, 0.5, nan], &[])
        })?;
        let total = |x: f64| {
            let mut total = Total::ZERO;
            total.add(x, 1);
            total
        };
        let totals = builder.totals();
        assert_eq!((&totals.loss[0].known, &totals.loss[0].unknown), (&total(0.5), &total(3.0)));
        assert_eq!((&totals.loss[1].known, &totals.loss[1].unknown), (&total(0.0), &total(4.0)));
        assert_eq!((&totals.cost[0].known, &totals.cost[0].unknown), (&total(5.0), &total(0.0)));
        assert_eq!((&totals.cost[1].known, &totals.cost[1].unknown), (&total(4.0), &total(3.0)));
        assert_eq!(totals.is_probe, [Some(false), None]);
        let infinite = Added { weight: Some(&[1.0]), ..added(&[0.5, 0.5], &[f64::INFINITY, 0.0], &[1.0, 1.0]) };
        assert!(builder.append(&infinite).is_err());
        assert_eq!(builder.requests(), 2);
        Ok(())
    }
}

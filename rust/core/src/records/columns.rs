//! Records side by side: what is gathered before it is written, and what has been read.

use std::collections::HashMap;

/// The request was run through: every stage was to be run.
pub const EXPLORED: u8 = 1;
/// It would have been, but for the cap.
pub const CAPPED: u8 = 2;
/// The deadline ended it.
pub const LATE: u8 = 4;

/// The stage gave an answer.
pub const ANSWERED: u8 = 0;
/// It was begun and gave none.
pub const FAILED: u8 = 1;
/// It was not tried.
pub const BARRED: u8 = 2;
/// Added where it ran for the record alone.
pub const FOR_RECORD: u8 = 4;

/// What became of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<'a> {
    /// Its number.
    pub stage: u16,
    /// [`ANSWERED`], [`FAILED`] or [`BARRED`], and [`FOR_RECORD`].
    pub what: u8,
    /// What it said; NaN: nothing.
    pub signal: f64,
    /// Code of its prediction.
    pub prediction: i64,
    /// How long it took; NaN: nobody measured.
    pub seconds: f64,
    /// Why it gave nothing.
    pub reason: Option<&'a str>,
}

/// What is said of a request besides its stages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ending {
    /// Seconds since 1970.
    pub time: f64,
    /// The stage that answered, −1 for none.
    pub answer: i16,
    /// [`EXPLORED`], [`CAPPED`], [`LATE`].
    pub flags: u8,
    /// Of the stages that the policy ran.
    pub cost: f64,
    /// Of the answer.
    pub expected_loss: f64,
    /// Probability with which the request was run through.
    pub propensity: f64,
    /// Of the stages that were run for the record alone.
    pub exploration_cost: f64,
}

/// Columns of requests of one policy, and of what their stages did, request by request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// Names of requests, one after the other.
    pub id: Vec<u8>,
    /// Bytes of each name.
    pub id_length: Vec<u16>,
    /// Seconds since 1970.
    pub time: Vec<f64>,
    /// Stages that answered, −1 for none.
    pub answer: Vec<i16>,
    /// [`EXPLORED`], [`CAPPED`], [`LATE`].
    pub flags: Vec<u8>,
    /// Of the stages that policies ran.
    pub cost: Vec<f64>,
    /// Of the answers.
    pub expected_loss: Vec<f64>,
    /// Probabilities with which requests were run through.
    pub propensity: Vec<f64>,
    /// Of the stages that ran for the record alone.
    pub exploration_cost: Vec<f64>,
    /// Stages of each request.
    pub steps: Vec<u16>,
    /// Which.
    pub stage: Vec<u16>,
    /// [`ANSWERED`], [`FAILED`] or [`BARRED`], and [`FOR_RECORD`].
    pub what: Vec<u8>,
    /// What it said.
    pub signal: Vec<f64>,
    /// Code of its prediction.
    pub prediction: Vec<i64>,
    /// How long it took.
    pub seconds: Vec<f64>,
    /// Which text says why, for each stage that gave nothing, in order.
    pub reason: Vec<u32>,
    /// Texts, one after the other.
    pub text: Vec<u8>,
    /// Bytes of each text.
    pub text_length: Vec<u16>,
    /// Where texts that have been seen are; not stored.
    known: HashMap<Box<str>, u32>,
}

/// Bytes of a request and of a stage in memory, but for names and texts.
const ROW: usize = 8 * 5 + 2 * 3 + 1;
const STEP: usize = 8 * 3 + 3;

impl Columns {
    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// Bytes that they take in memory, about.
    pub fn bytes(&self) -> usize {
        self.len() * ROW + self.stage.len() * STEP + self.reason.len() * 4 + self.id.len() + 2 * self.text.len()
    }

    /// Adds a request, whose name and texts are cut where they are too long to be stored. O(stages).
    pub fn push<'a>(&mut self, id: &str, ending: Ending, steps: impl Iterator<Item = Step<'a>>) {
        let id = cut(id);
        self.id.extend_from_slice(id.as_bytes());
        self.id_length.push(id.len() as u16);
        self.time.push(ending.time);
        self.answer.push(ending.answer);
        self.flags.push(ending.flags);
        self.cost.push(ending.cost);
        self.expected_loss.push(ending.expected_loss);
        self.propensity.push(ending.propensity);
        self.exploration_cost.push(ending.exploration_cost);
        let before = self.stage.len();
        for step in steps.take(usize::from(u16::MAX)) {
            self.stage.push(step.stage);
            self.what.push(step.what);
            self.signal.push(step.signal);
            self.prediction.push(step.prediction);
            self.seconds.push(step.seconds);
            if step.what & !FOR_RECORD != ANSWERED {
                let text = self.text_of(step.reason.unwrap_or_default());
                self.reason.push(text);
            }
        }
        self.steps.push((self.stage.len() - before) as u16);
    }

    fn text_of(&mut self, text: &str) -> u32 {
        let text = cut(text);
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let number = self.text_length.len() as u32;
        self.known.insert(text.into(), number);
        self.text.extend_from_slice(text.as_bytes());
        self.text_length.push(text.len() as u16);
        number
    }

    /// Calls `each` with every request, in order.
    pub fn each<'a>(&'a self, mut each: impl FnMut(Row<'a>)) {
        let (mut id, mut step, mut lost) = (0, 0, 0);
        for row in 0..self.len() {
            let (length, steps) = (usize::from(self.id_length[row]), usize::from(self.steps[row]));
            let found = Row { of: self, at: row, id: id..id + length, steps: step..step + steps, lost };
            lost += self.what[step..step + steps].iter().filter(|what| **what & !FOR_RECORD != ANSWERED).count();
            id += length;
            step += steps;
            each(found);
        }
    }

    /// Whether they say of every request what they should, of `stages` stages; why not, where they do not.
    pub(super) fn check(&self, stages: usize) -> crate::error::Checked {
        let check = crate::error::check;
        let sum = |lengths: &[u16]| lengths.iter().map(|length| usize::from(*length)).sum::<usize>();
        check(sum(&self.id_length) == self.id.len(), "names of requests do not fit")?;
        check(sum(&self.steps) == self.stage.len(), "stages do not fit the requests")?;
        check(self.stage.iter().all(|stage| usize::from(*stage) < stages), "a stage is out of range")?;
        let is_answer = |answer: &i16| (-1..stages as i32).contains(&i32::from(*answer));
        check(self.answer.iter().all(is_answer), "an answer is out of range")?;
        check(self.flags.iter().all(|flags| *flags < 8), "a flag is not known")?;
        check(self.what.iter().all(|what| what & !FOR_RECORD <= BARRED && *what < 8), "what a stage did is not known")?;
        let lost = self.what.iter().filter(|what| **what & !FOR_RECORD != ANSWERED).count();
        check(self.reason.len() == lost, "reasons do not fit the stages")?;
        check(self.reason.iter().all(|text| (*text as usize) < self.text_length.len()), "a reason is out of range")?;
        check(sum(&self.text_length) == self.text.len(), "texts do not fit")?;
        check(self.time.iter().all(|time| time.is_finite()), "a time is not finite")
    }

    /// The texts, in the order of their numbers.
    pub fn texts(&self) -> Vec<String> {
        let mut from = 0;
        let each = self.text_length.iter().map(|length| {
            let text = self.text.get(from..from + usize::from(*length)).unwrap_or_default();
            from += usize::from(*length);
            String::from_utf8_lossy(text).into_owned()
        });
        each.collect()
    }
}

/// As much of a text as can be stored.
fn cut(text: &str) -> &str {
    let most = text.len().min(usize::from(u16::MAX));
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// One request among the columns.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    of: &'a Columns,
    at: usize,
    id: std::ops::Range<usize>,
    steps: std::ops::Range<usize>,
    lost: usize,
}

impl<'a> Row<'a> {
    /// Its name.
    pub fn id(&self) -> &'a [u8] {
        &self.of.id[self.id.clone()]
    }

    /// What is said of it besides its stages.
    pub fn ending(&self) -> Ending {
        let (of, row) = (self.of, self.at);
        Ending {
            time: of.time[row],
            answer: of.answer[row],
            flags: of.flags[row],
            cost: of.cost[row],
            expected_loss: of.expected_loss[row],
            propensity: of.propensity[row],
            exploration_cost: of.exploration_cost[row],
        }
    }

    /// What became of its stages, in their order, each with the number of the text that says why it gave nothing.
    pub fn steps(&self) -> impl Iterator<Item = (Step<'static>, Option<u32>)> + use<'a> {
        let (of, mut lost) = (self.of, self.lost);
        self.steps.clone().map(move |at| {
            let what = of.what[at];
            let reason = (what & !FOR_RECORD != ANSWERED).then(|| {
                lost += 1;
                of.reason[lost - 1]
            });
            let (signal, prediction) = (of.signal[at], of.prediction[at]);
            (Step { stage: of.stage[at], what, signal, prediction, seconds: of.seconds[at], reason: None }, reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::made::{ENDING, step};
    use super::*;

    #[test]
    fn what_is_pushed_is_there() {
        let mut columns = Columns::default();
        let steps =
            [step(1, ANSWERED, None), step(0, FAILED, Some("down")), step(2, FOR_RECORD | BARRED, Some("shut"))];
        columns.push("first", ENDING, steps.into_iter());
        columns.push("", Ending { answer: -1, ..ENDING }, [step(0, FAILED, Some("down"))].into_iter());
        assert_eq!((columns.len(), columns.texts()), (2, vec!["down".to_owned(), "shut".to_owned()]));
        let mut seen = Vec::new();
        columns.each(|row| {
            let steps: Vec<_> = row.steps().map(|(step, reason)| (step.stage, step.what, reason)).collect();
            seen.push((row.id().to_vec(), row.ending().answer, steps));
        });
        let first = vec![(1, ANSWERED, None), (0, FAILED, Some(0)), (2, FOR_RECORD | BARRED, Some(1))];
        let expected = vec![(b"first".to_vec(), 0, first), (Vec::new(), -1, vec![(0, FAILED, Some(0))])];
        assert_eq!(seen, expected);
        assert_eq!(columns.check(3), Ok(()));
        assert_eq!(columns.check(2), Err("a stage is out of range"));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut columns = Columns::default();
        let long = "é".repeat(40_000);
        columns.push(&long, ENDING, [step(0, FAILED, Some(&long))].into_iter());
        assert_eq!((columns.id.len(), columns.text.len()), (65_534, 65_534));
        assert_eq!(columns.check(1), Ok(()));
    }
}

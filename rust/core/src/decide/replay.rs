//! A whole recorded trace at once, on all cores.

use super::circumstances::Circumstances;
use super::ways::{End, Ways};
use crate::error::{Error, Result};
use crate::parallel;
use crate::plan::NO_STAGE;
use crate::policy::Policy;
use crate::price::Price;
use crate::rules::{Given, NO_PREDICTION, Observation, Predictions, Progress, Rule, Signals, Visitor};

/// Rows that one task works on; smaller traces are replayed on the calling thread.
const CHUNK: usize = 4096;

/// Requests that are followed in step: few enough that what they remember stays near the processor.
const GROUP: usize = 64;

/// What a policy does on every row of a trace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Replay {
    /// Stage whose answer is returned, −1 for none (n,).
    pub answer: Vec<i32>,
    /// Stage run last, −1 for none (n,).
    pub last: Vec<i32>,
    /// Whether each stage was run (n, k), row by row.
    pub consulted: Vec<bool>,
    /// Summed price of the stages run, in the unit of the trace (n,).
    pub cost: Vec<f64>,
    /// Whether the stage run last was cut off by the deadline (n,).
    pub late: Vec<bool>,
}

/// The same, each way to end once: columns are made when they are asked for, each in O(n), or O(n·k).
#[derive(Clone, Debug)]
pub struct Endings {
    rows: usize,
    stages: usize,
    pieces: Vec<Ended>,
    /// What stages cost each request over what they cost the average one (n,), where the policy knows that.
    relative: Option<Vec<f64>>,
}

/// How some rows have ended.
#[derive(Clone, Debug)]
struct Ended {
    ways: Ways,
    /// The number of each row's end.
    end: Vec<u16>,
}

/// A recorded trace: (n, k), and what holds of all requests.
#[derive(Clone, Copy, Debug)]
struct Recorded<'a> {
    signal: Signals<'a>,
    prediction: Option<Predictions<'a>>,
    circumstances: Circumstances<'a>,
}

/// Some of its rows, row by row.
#[derive(Clone, Copy)]
struct Rows<'a> {
    count: usize,
    stages: usize,
    signal: &'a [f64],
    prediction: Option<&'a [i64]>,
    /// What stages cost each request, where that is known.
    cost: Option<&'a [f64]>,
}

impl Policy {
    /// Replays a recorded trace: `signal` and `prediction` are (n, k), row by row.
    ///
    /// O(n·k) time, all cores. Decisions are those of [`Policy::start`] on each row.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the lengths are not multiples of the number of stages, or differ.
    pub fn replay(&self, signal: &[f64], prediction: Option<&[i64]>) -> Result<Replay> {
        let (signal, prediction) = self.in_rows(signal, prediction)?;
        Ok(self.endings(signal, prediction)?.columns())
    }

    /// The same where more is known of requests than what stages report. A stage that takes longer than what is left is cut
    /// off: it has run and is paid for, its report is lost, and the request ends with what it has in hand.
    ///
    /// # Errors
    /// As [`Policy::replay`]; for latencies that are no numbers of seconds, and costs that are not finite or negative; and
    /// for a finite deadline without latencies.
    pub fn replay_in(
        &self,
        signal: &[f64],
        prediction: Option<&[i64]>,
        circumstances: &Circumstances,
    ) -> Result<Replay> {
        let (signal, prediction) = self.in_rows(signal, prediction)?;
        Ok(self.endings_in(signal, prediction, circumstances)?.columns())
    }

    /// What [`Policy::replay`] finds, of whatever types and layouts, in columns that are made when they are asked for.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is not one column for each stage, or the shapes differ.
    pub fn endings<'a>(&self, signal: Signals<'a>, prediction: Option<Predictions<'a>>) -> Result<Endings> {
        self.endings_in(signal, prediction, &Circumstances::default())
    }

    /// What [`Policy::replay_in`] finds, likewise.
    ///
    /// # Errors
    /// As [`Policy::replay_in`].
    pub fn endings_in<'a>(
        &self,
        signal: Signals<'a>,
        prediction: Option<Predictions<'a>>,
        circumstances: &Circumstances<'a>,
    ) -> Result<Endings> {
        let stages = self.stages().len();
        let (rows, columns) = signal.shape();
        if columns != stages {
            return Err(Error::invalid(format!("`signal` must have {stages} columns, one per stage")));
        }
        if let Some((n, k)) = prediction.map(|prediction| prediction.shape())
            && (n, k) != (rows, columns)
        {
            return Err(unlike(n * k, rows * columns));
        }
        circumstances.check(rows, columns)?;
        let recorded = Recorded { signal, prediction, circumstances: *circumstances };
        let pieces = self.rule().visit(Work { price: self.price(), rows, recorded });
        let relative = circumstances.cost.filter(|_| self.knows_cost()).map(<[f64]>::to_vec);
        Ok(Endings { rows, stages, pieces, relative })
    }

    /// Rows of as many numbers as there are stages.
    fn in_rows<'a>(
        &self,
        signal: &'a [f64],
        prediction: Option<&'a [i64]>,
    ) -> Result<(Signals<'a>, Option<Predictions<'a>>)> {
        let k = self.stages().len();
        let rows = Signals::rows_of(signal, k);
        let rows = rows.ok_or_else(|| Error::invalid(format!("`signal` must have {k} columns, one per stage")))?;
        let Some(prediction) = prediction else { return Ok((rows, None)) };
        let same = Predictions::rows_of(prediction, k).filter(|same| same.shape() == rows.shape());
        let same = same.ok_or_else(|| unlike(prediction.len(), signal.len()))?;
        Ok((rows, Some(same)))
    }
}

fn unlike(got: usize, wanted: usize) -> Error {
    Error::invalid(format!("`prediction` must have the shape of `signal`, got {got} entries for {wanted}"))
}

impl Endings {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.stages
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// [`Replay::answer`].
    pub fn answer(&self) -> Vec<i32> {
        self.each(End::answer)
    }

    /// [`Replay::last`].
    pub fn last(&self) -> Vec<i32> {
        self.each(End::last)
    }

    /// [`Replay::consulted`].
    pub fn consulted(&self) -> Vec<bool> {
        let k = self.stages;
        let mut consulted = Vec::with_capacity(self.rows * k);
        for piece in &self.pieces {
            let ran = piece.ways.ran(k);
            for end in &piece.end {
                let from = usize::from(*end) * k;
                consulted.extend_from_slice(ran.get(from..from + k).unwrap_or_default());
            }
        }
        consulted
    }

    /// [`Replay::cost`].
    pub fn cost(&self) -> Vec<f64> {
        let mut cost = self.each(End::cost);
        for (cost, relative) in cost.iter_mut().zip(self.relative.iter().flatten()) {
            *cost *= relative;
        }
        cost
    }

    /// [`Replay::late`].
    pub fn late(&self) -> Vec<bool> {
        self.each(End::late)
    }

    /// All of them.
    pub fn columns(&self) -> Replay {
        Replay {
            answer: self.answer(),
            last: self.last(),
            consulted: self.consulted(),
            cost: self.cost(),
            late: self.late(),
        }
    }

    fn each<T: Copy>(&self, of: impl Fn(&End) -> T) -> Vec<T> {
        let mut all = Vec::with_capacity(self.rows);
        for piece in &self.pieces {
            let found: Vec<T> = piece.ways.ends().iter().map(&of).collect();
            all.extend(piece.end.iter().filter_map(|end| found.get(usize::from(*end)).copied()));
        }
        all
    }
}

/// Replaying all rows under one concrete rule.
struct Work<'a, 'r> {
    price: &'a Price,
    rows: usize,
    recorded: Recorded<'r>,
}

impl Visitor for Work<'_, '_> {
    type Output = Vec<Ended>;

    fn visit<R: Rule>(self, rule: &R) -> Vec<Ended> {
        let Self { price, rows, recorded } = self;
        let stages = recorded.signal.shape().1;
        parallel::map(parallel::ranges(rows, CHUNK), |rows| {
            let (mut signals, mut predictions) = (Vec::new(), Vec::new());
            let signal = recorded.signal.rows(rows.clone(), &mut signals);
            let prediction = recorded.prediction.as_ref();
            let prediction = prediction.map(|said| said.rows(rows.clone(), &mut predictions));
            let Circumstances { latency, deadline, cost } = recorded.circumstances;
            let cost = cost.map(|cost| cost.get(rows.clone()).unwrap_or_default());
            let found = Rows { count: rows.len(), stages, signal, prediction, cost };
            match latency.filter(|_| deadline < f64::INFINITY) {
                None => replay_rows(rule, price, found),
                Some(latency) => {
                    let latency = latency.get(rows.start * stages..rows.end * stages).unwrap_or_default();
                    replay_rows_within(rule, price, found, latency, deadline)
                }
            }
        })
    }
}

impl<'a> Rows<'a> {
    /// What the stages say in one of them.
    #[inline]
    fn row(&self, row: usize) -> Row<'a> {
        let cells = row * self.stages..(row + 1) * self.stages;
        let signal = self.signal.get(cells.clone()).unwrap_or_default();
        Row { signal, prediction: self.prediction.map(|prediction| prediction.get(cells).unwrap_or_default()) }
    }

    /// What is known of one of them before it begins.
    #[inline]
    fn given(&self, row: usize) -> Given {
        let cost = self.cost.and_then(|cost| cost.get(row).copied());
        cost.map_or(Given::NOTHING, Given::costing)
    }

    /// Which of them go on after the first report, ascending, and one that does not; all of them where that takes a state
    /// to tell.
    fn going_on<R: Rule>(&self, rule: &R) -> (Vec<u16>, Option<u16>) {
        let everyone = || ((0..self.count as u16).collect(), None);
        let Some(entry) = rule.begin(Given::NOTHING).0.next_stage().filter(|_| !rule.may_decline()) else {
            return everyone();
        };
        let signal: Vec<f64> = self.signal.iter().skip(entry).step_by(self.stages).copied().collect();
        let said = self.prediction.map(|said| said.iter().skip(entry).step_by(self.stages).copied().collect());
        let said: Option<Vec<i64>> = said;
        let mut next = vec![NO_STAGE; self.count];
        if !rule.after_first_of_many(&signal, said.as_deref(), &mut next) {
            return everyone();
        }
        let ended = next.iter().position(|next| *next == NO_STAGE).map(|at| at as u16);
        // Each place is written, and stays where its row goes on: which do cannot be foreseen.
        let (mut going, mut count) = (vec![0_u16; self.count], 0);
        for (at, next) in next.iter().enumerate() {
            if let Some(place) = going.get_mut(count) {
                *place = at as u16;
            }
            count += usize::from(*next != NO_STAGE);
        }
        going.truncate(count);
        (going, ended)
    }
}

/// What the stages say in one row.
#[derive(Clone, Copy)]
struct Row<'a> {
    signal: &'a [f64],
    prediction: Option<&'a [i64]>,
}

impl Row<'_> {
    #[inline]
    fn at(&self, stage: usize) -> Observation {
        let said = self.prediction.and_then(|prediction| prediction.get(stage).copied()).unwrap_or(NO_PREDICTION);
        Observation::new(self.signal.get(stage).copied().unwrap_or(f64::NAN), said)
    }
}

fn replay_rows<R: Rule>(rule: &R, price: &Price, rows: Rows) -> Ended {
    let (going, ended) = rows.going_on(rule);
    let mut group = Group { rows, ways: Ways::new(), requests: Vec::new() };
    let mut end = vec![0; rows.count];
    // Whoever ends with the first report does so alike.
    if let Some(ended) = ended {
        group.follow(rule, price, &[ended], |_, found| end.fill(found));
    }
    for places in going.chunks(GROUP) {
        group.follow(rule, price, places, |at, found| {
            if let Some(end) = end.get_mut(usize::from(at)) {
                *end = found;
            }
        });
    }
    Ended { ways: group.ways, end }
}

/// Requests that are followed in step. Most of them are in the same situation at the same time, and whether the next one
/// ends, which cannot be foreseen, changes nothing about what the processor does next.
struct Group<'a, M> {
    rows: Rows<'a>,
    ways: Ways,
    requests: Vec<Followed<M>>,
}

/// A request of a group.
#[derive(Clone)]
struct Followed<M> {
    progress: Progress,
    memory: M,
    step: u32,
}

impl<M: Clone> Group<'_, M> {
    /// Follows the requests of these rows, at most [`GROUP`]; hands the number of each one's end to `found`.
    fn follow<R: Rule<Memory = M>>(
        &mut self,
        rule: &R,
        price: &Price,
        places: &[u16],
        mut found: impl FnMut(u16, u16),
    ) {
        let Self { rows, ways, requests } = self;
        if requests.len() < places.len() {
            let (progress, memory) = rule.begin(Given::NOTHING);
            requests.resize(places.len(), Followed { progress, memory, step: Ways::START });
        }
        let (mut waiting, mut count) = ([0_u8; GROUP], 0);
        for ((lane, request), at) in (0_u8..).zip(requests.iter_mut()).zip(places) {
            rule.begin_again(&mut request.progress, &mut request.memory, rows.given(usize::from(*at)));
            request.step = Ways::START;
            if let Some(place) = waiting.get_mut(count) {
                *place = lane;
            }
            count += usize::from(request.progress.is_waiting());
        }
        while count > 0 {
            let mut left = 0;
            for turn in 0..count {
                let Some(lane) = waiting.get(turn).copied() else { break };
                let (request, place) = (requests.get_mut(usize::from(lane)), places.get(usize::from(lane)));
                let (Some(request), Some(at)) = (request, place) else { break };
                let said = rows.row(usize::from(*at)).at(usize::from(request.progress.next));
                request.step = ways.step(request.step, request.progress.next);
                rule.observe(&mut request.progress, &mut request.memory, said, price);
                if let Some(place) = waiting.get_mut(left) {
                    *place = lane;
                }
                left += usize::from(request.progress.is_waiting());
            }
            count = left;
        }
        for (request, at) in requests.iter().zip(places) {
            let answer = rule.answer(&request.progress, &request.memory);
            found(*at, ways.end(request.step, answer, false, request.progress.cost) as u16);
        }
    }
}

fn replay_rows_within<R: Rule>(rule: &R, price: &Price, rows: Rows, latency: &[f64], deadline: f64) -> Ended {
    let mut ways = Ways::new();
    let (mut progress, mut memory) = rule.begin(Given::within(deadline));
    let mut follow = |(at, latency): (usize, &[f64])| {
        let row = rows.row(at);
        rule.begin_again(&mut progress, &mut memory, Given { remaining: deadline, ..rows.given(at) });
        let (mut left, mut late, mut step) = (deadline, false, Ways::START);
        while let Some(stage) = progress.next_stage() {
            step = ways.step(step, progress.next);
            let run = latency.get(price.run_from(progress.last, stage)..=stage).unwrap_or_default();
            let seconds: f64 = run.iter().sum();
            if seconds > left {
                late = true;
                rule.stop(&mut progress, &mut memory, price);
            } else {
                left -= seconds;
                rule.observe(&mut progress, &mut memory, row.at(stage).within(left), price);
            }
        }
        ways.end(step, rule.answer(&progress, &memory), late, progress.cost) as u16
    };
    let end = latency.chunks_exact(rows.stages).enumerate().map(&mut follow).collect();
    Ended { ways, end }
}

const _: () = assert!(CHUNK <= u16::MAX as usize, "places and ends of a piece are numbered in 16 bits");
const _: () = assert!(GROUP <= u8::MAX as usize, "requests of a group are numbered in 8 bits");

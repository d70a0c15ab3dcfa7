//! A uniform sample of rows that does not depend on the order or grouping in which they come.

/// Where a row stands: rows of the lowest places are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// A uniform word that depends on seed, source and number only.
    pub priority: u64,
    /// Number of its source.
    pub source: u32,
    /// How many rows of that source came before.
    pub number: u64,
}

/// Rows with their places, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Floats of a row: signal, loss, cost of every stage, then latencies, propensities and the weight, if there are.
    pub floats: usize,
    /// Integers of a row: predictions, and the group, if there are.
    pub integers: usize,
    place: Vec<Place>,
    float: Vec<f64>,
    integer: Vec<i64>,
}

/// Rows that wait before a sample is drawn again.
const WAITING: usize = 1024;

impl Rows {
    /// None yet.
    pub fn new(floats: usize, integers: usize) -> Self {
        Self { floats, integers, place: Vec::new(), float: Vec::new(), integer: Vec::new() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.place.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.place.len()
    }

    /// Where each stands.
    pub fn places(&self) -> &[Place] {
        &self.place
    }

    /// The floats of a row.
    pub fn float(&self, row: usize) -> &[f64] {
        &self.float[row * self.floats..][..self.floats]
    }

    /// The integers of a row.
    pub fn integer(&self, row: usize) -> &[i64] {
        &self.integer[row * self.integers..][..self.integers]
    }

    /// Adds one; the iterators give as many numbers as a row has.
    #[inline]
    pub fn push(&mut self, place: Place, floats: impl Iterator<Item = f64>, integers: impl Iterator<Item = i64>) {
        self.place.push(place);
        self.float.extend(floats);
        self.integer.extend(integers);
    }

    /// Adds all of another, of as many numbers a row, with its sources renumbered.
    pub fn extend(&mut self, other: &Self, source: &[u32]) {
        let renumbered = |place: &Place| Place { source: source[place.source as usize], ..*place };
        self.place.extend(other.place.iter().map(renumbered));
        self.float.extend_from_slice(&other.float);
        self.integer.extend_from_slice(&other.integer);
    }

    /// Whether so many wait that those beyond the capacity should go.
    pub fn is_full(&self, capacity: usize) -> bool {
        self.len() >= capacity.saturating_add(capacity.max(WAITING))
    }

    /// Lets go of all but the `capacity` lowest places; returns the highest that is left, if any went. O(n).
    pub fn trim(&mut self, capacity: usize) -> Option<Place> {
        if self.len() <= capacity {
            return None;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.select_nth_unstable_by_key(capacity - 1, |row| self.place[*row]);
        order.truncate(capacity);
        let last = order.last().map(|row| self.place[*row]);
        order.sort_unstable();
        *self = self.select(&order);
        last
    }

    /// The given rows, in that order.
    fn select(&self, rows: &[usize]) -> Self {
        let mut selected = Self::new(self.floats, self.integers);
        selected.place.reserve_exact(rows.len());
        selected.float.reserve_exact(rows.len() * self.floats);
        selected.integer.reserve_exact(rows.len() * self.integers);
        for row in rows {
            selected.place.push(self.place[*row]);
            selected.float.extend_from_slice(self.float(*row));
            selected.integer.extend_from_slice(self.integer(*row));
        }
        selected
    }

    /// Puts the rows at other places, one for each.
    pub fn place_at(&mut self, place: impl Iterator<Item = Place>) {
        self.place.clear();
        self.place.extend(place);
    }

    /// By source, each in the order in which they came.
    #[must_use]
    pub fn sorted(&self) -> Self {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_unstable_by_key(|row| (self.place[*row].source, self.place[*row].number));
        self.select(&order)
    }
}

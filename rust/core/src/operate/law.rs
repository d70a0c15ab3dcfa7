//! Every constant of the law that a governor moves by.

/// How hard a debt is paid back: a governor that owes `1 / GAIN` of what the budget allows in a window asks for nothing. No
/// unit. Larger values hold the mean of each window closer and move more: with 1, 3 and 5, on three public traces at constant
/// traffic, means of windows of 1,000 requests vary by 2.8, 2.1 and 1.8 % of the budget (standard deviation), and the level
/// by 4, 6 and 7 %. It is stable as long as fewer than `π / (2 (1 + GAIN))` of a window's requests are in flight.
pub const GAIN: f64 = 4.0;

/// Requests over which the ratio of observed to expected costs is learned, in windows. With half of it means are further off
/// the budget after a step where the ratio depends on the level; with twice as much a step is followed more slowly.
pub const RATIO_WINDOWS: f64 = 1.0;

/// The same in requests for a budget per second, where a window has no number of requests: so many that their mean cost is
/// known to a few per cent where costs vary by as much as their mean.
pub const RATIO_REQUESTS: f64 = 1000.0;

/// Requests as expected that are always counted into the ratio, so that it has a value where policies of no cost serve; so
/// few that they pull it nowhere else.
pub const RATIO_PRIOR: f64 = 0.01;

/// Requests count alike in the ratio, whatever is asked of them; but for what is below this share of the cost in the middle
/// of the ladder, where one that costs something would be taken for a large change. No unit.
pub const RATIO_FLOOR: f64 = 0.01;

/// Seconds over which the rate of requests is learned, in windows. A burst is met after a tenth of a window; ten times less
/// than a window is still many requests where a window is.
pub const RATE_WINDOWS: f64 = 0.1;

/// How much the first guess of the rate counts, in seconds over which it is learned: it is one of ten.
pub const RATE_PRIOR: f64 = 0.1;

/// The largest cost that is taken for one; sums of them stay finite.
pub const MOST_COST: f64 = 1e200;

/// Requests in the shortest window: the debt of fewer is noise.
pub const FEWEST_REQUESTS: f64 = 10.0;

/// Requests, or seconds, in the longest window: sums of them stay exact enough.
pub const LONGEST: f64 = 1e9;

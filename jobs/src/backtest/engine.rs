//! The engine: one instrument, long only, all in, fractional units. It walks the bars once.
//!
//! In each bar: an order that waits is filled, the close gives its signal, the position is marked at
//! the close. Two rules cover prices that are zero or negative, which exist (WTI crude on 2020-04-20):
//!
//! - **Nothing is traded at a price that is not positive.** Units bought with all cash would be
//!   infinite or negative. The order waits for the next bar with a positive price, or lapses when the
//!   signal turns first.
//! - **A position is marked at its price whatever the sign.** If that leaves the account with nothing
//!   or less, the account is **ruined**: the position is gone, equity is 0 from there on, and what the
//!   mark is below zero is the uncovered loss, which is reported and not carried. Marking at an
//!   earlier price instead would hide the loss, and a return on negative equity means nothing.

use protocol::job::FillRule;

use super::strategy::{Signal, SignalSource};

/// What the engine trades on.
#[derive(Debug, Clone, Copy)]
pub struct Market<'a> {
    /// The open of each bar, where the series has one.
    pub opens: Option<&'a [f64]>,
    /// The close or single price of each bar.
    pub closes: &'a [f64],
}

/// The terms of trading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Cash at the start.
    pub cash: f64,
    /// Share of each order's value.
    pub fee_rate: f64,
    /// Worsening of each fill, as a share of the price.
    pub slippage: f64,
    /// When orders are filled.
    pub fill: FillRule,
}

/// How a trade stands at the end of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TradeEnd {
    /// Sold.
    Closed,
    /// Still held; its exit is the last close, without costs.
    Open,
    /// Lost with the account.
    Ruined,
}

/// One round trip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trade {
    /// Bar of the purchase.
    pub entry_bar: usize,
    /// Price paid for a unit, slippage included.
    pub entry_price: f64,
    /// Units.
    pub units: f64,
    /// Bar of the sale, of the ruin, or the last one.
    pub exit_bar: usize,
    /// Price taken for a unit, slippage included.
    pub exit_price: f64,
    /// Fees of the purchase and the sale.
    pub fees: f64,
    /// What it earned after fees.
    pub profit: f64,
    /// How it ended.
    pub end: TradeEnd,
}

impl Trade {
    /// What it earned as a share of what went in, the entry's fee included in both.
    #[must_use]
    pub fn profit_share(&self) -> f64 {
        self.profit / (self.units * self.entry_price)
    }
}

/// When and how the account was ruined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ruin {
    /// The bar.
    pub bar: usize,
    /// What was lost beyond the account.
    pub uncovered_loss: f64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Equity at the close of each bar.
    pub equity: Vec<f64>,
    /// The trades in order; at most the last one is open.
    pub trades: Vec<Trade>,
    /// Purchases and sales.
    pub orders: usize,
    /// Value of all purchases and sales.
    pub traded_value: f64,
    /// All fees.
    pub fees: f64,
    /// Bars at whose close a position was held.
    pub bars_held: usize,
    /// Bars at which an order had to wait because the price was not positive.
    pub orders_delayed: usize,
    /// Set when the account was ruined.
    pub ruin: Option<Ruin>,
}

/// Runs a strategy over a market.
pub fn simulate(market: Market<'_>, terms: Terms, mut source: impl SignalSource) -> Run {
    let closes = market.closes;
    let mut account = Account::new(terms, closes.len());
    let mut wanted = false;
    for (bar, &close) in closes.iter().enumerate() {
        if terms.fill == FillRule::NextOpen && bar > 0 {
            let price = market.opens.map_or(close, |opens| opens[bar]);
            account.follow(wanted, bar, price);
        }
        match source.at(bar, closes) {
            Signal::Keep => {}
            Signal::Enter => wanted = true,
            Signal::Exit => wanted = false,
        }
        if terms.fill == FillRule::Close {
            account.follow(wanted, bar, close);
        }
        account.mark(bar, close);
    }
    account.finish(closes)
}

/// Cash, position and what has happened to them so far.
struct Account {
    terms: Terms,
    cash: f64,
    units: f64,
    entry: Option<Entry>,
    run: Run,
}

struct Entry {
    bar: usize,
    price: f64,
    fee: f64,
}

impl Account {
    fn new(terms: Terms, bars: usize) -> Self {
        Self {
            terms,
            cash: terms.cash,
            units: 0.0,
            entry: None,
            run: Run {
                equity: Vec::with_capacity(bars),
                trades: Vec::new(),
                orders: 0,
                traded_value: 0.0,
                fees: 0.0,
                bars_held: 0,
                orders_delayed: 0,
                ruin: None,
            },
        }
    }

    /// Brings the position to what is wanted, if the price allows it.
    #[inline]
    fn follow(&mut self, wanted: bool, bar: usize, price: f64) {
        if wanted == self.entry.is_some() || self.run.ruin.is_some() {
            return;
        }
        if price <= 0.0 {
            self.run.orders_delayed += 1;
        } else if wanted {
            self.buy(bar, price * (1.0 + self.terms.slippage));
        } else {
            self.sell(bar, price * (1.0 - self.terms.slippage));
        }
    }

    fn buy(&mut self, bar: usize, price: f64) {
        self.units = self.cash / (price * (1.0 + self.terms.fee_rate));
        let value = self.units * price;
        let fee = value * self.terms.fee_rate;
        self.cash = 0.0;
        self.entry = Some(Entry { bar, price, fee });
        self.book(value, fee);
    }

    fn sell(&mut self, bar: usize, price: f64) {
        let value = self.units * price;
        let fee = value * self.terms.fee_rate;
        self.cash += value - fee;
        self.book(value, fee);
        self.close(bar, price, fee, TradeEnd::Closed);
        self.units = 0.0;
    }

    fn book(&mut self, value: f64, fee: f64) {
        self.run.orders += 1;
        self.run.traded_value += value;
        self.run.fees += fee;
    }

    fn close(&mut self, bar: usize, price: f64, exit_fee: f64, end: TradeEnd) {
        let Some(entry) = self.entry.take() else { return };
        let fees = entry.fee + exit_fee;
        let paid = self.units * entry.price;
        let taken = if end == TradeEnd::Ruined { 0.0 } else { self.units * price };
        self.run.trades.push(Trade {
            entry_bar: entry.bar,
            entry_price: entry.price,
            units: self.units,
            exit_bar: bar,
            exit_price: price,
            fees,
            profit: taken - paid - fees,
            end,
        });
    }

    /// Values the account at the close.
    #[inline]
    fn mark(&mut self, bar: usize, close: f64) {
        let mut equity = self.cash + self.units * close;
        if self.entry.is_some() {
            if equity <= 0.0 {
                self.run.ruin = Some(Ruin { bar, uncovered_loss: -equity });
                self.close(bar, close, 0.0, TradeEnd::Ruined);
                self.units = 0.0;
                equity = 0.0;
            } else {
                self.run.bars_held += 1;
            }
        }
        self.run.equity.push(equity);
    }

    fn finish(mut self, closes: &[f64]) -> Run {
        if let Some(&last) = closes.last() {
            self.close(closes.len() - 1, last, 0.0, TradeEnd::Open);
        }
        self.run
    }
}

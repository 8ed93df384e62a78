"""Golden figures for the backtest engine, from vectorbt 1.2.0 (used as a test peer only, never linked).

    python -m venv venv && venv/bin/pip install vectorbt==1.2.0 pandas==3.1.1 numpy==2.4.6
    venv/bin/python golden_vectorbt.py PRICES.csv TIME_COLUMN PRICE_COLUMN [OPEN_COLUMN] > golden.json

Long only, all in, fractional units. Sharpe and Sortino are annualised with 252 periods.
"""
import json
import sys
import warnings

warnings.filterwarnings("ignore")
import pandas as pd
import vectorbt as vbt

path, time_column, price_column = sys.argv[1:4]
open_column = sys.argv[4] if len(sys.argv) > 4 else None
data = pd.read_csv(path, na_values=["."])
data.index = pd.to_datetime(data[time_column])
data = data.dropna(subset=[price_column])
close = data[price_column].astype(float)
fills = data[open_column].astype(float) if open_column else close
runs = []
for fast, slow in ((10, 20), (10, 50), (50, 200)):
    f, s = close.rolling(fast).mean(), close.rolling(slow).mean()
    enter = (f > s) & (f.shift() <= s.shift())
    leave = (f < s) & (f.shift() >= s.shift())
    for fill in ("close", "next_open"):
        for fee, slippage in ((0.002, 0.0), (0.001, 0.0005)):
            price = close if fill == "close" else fills
            e, x = (enter, leave) if fill == "close" else (
                enter.shift(1, fill_value=False), leave.shift(1, fill_value=False))
            pf = vbt.Portfolio.from_signals(
                close, e, x, price=price, init_cash=10_000, fees=fee, slippage=slippage, freq="1D")
            closed = pf.trades.closed
            runs.append({
                "fast": fast, "slow": slow, "fill": fill, "fee_rate": fee, "slippage_bps": round(slippage * 1e4, 6),
                "final_equity": float(pf.final_value()),
                "orders": int(len(pf.orders.records)),
                "trades": int(pf.trades.count()),
                "sharpe": float(pf.sharpe_ratio(year_freq="252 days")),
                "sortino": float(pf.sortino_ratio(year_freq="252 days")),
                "max_drawdown": float(pf.max_drawdown()),
                "fees": float(pf.orders.records["fees"].sum()),
                "win_rate": float(closed.win_rate()),
                "profit_factor": float(closed.profit_factor()),
            })
json.dump({"bars": len(close), "runs": runs}, sys.stdout, indent=1)

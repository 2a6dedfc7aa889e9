"""What became of a play, as numbers, as charts and as one HTML file that needs no network.

Everything here is a pure function of three lists: samples (dicts with time, bid, ask, mid, equity, position, one for
each bar), orders and fills as the book answers them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import accumulate
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

Rows = Sequence[Mapping[str, Any]]

BUY, SELL, EQUITY, PRICE, FEES, NEUTRAL = "#0f9d8a", "#d9534f", "#3b6fd4", "#7a8794", "#b7791f", "#7a8794"
SHOWN_ORDERS = 200

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #66727f; --line: #d9dee4; --back: #f6f7f9; --card: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #97a3b0; --line: #323a44; --back: #14181d; --card: #1c2229; }
}
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 28px 0 10px; }
p.about { color: var(--soft); margin: 0 0 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; margin-bottom: 18px; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tile { padding: 12px 14px; } .tile b { display: block; font-size: 19px; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; } .card { padding: 8px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } td.text, th.text { text-align: left; }
.gain, .buy { color: #0f9d8a; } .loss, .sell { color: #d9534f; }
"""


def slippages(orders: Rows, samples: Rows) -> list[dict[str, Any]]:
    """Answer, for each order that filled, how much worse than its reference it did.

    The reference of a market order is the middle of the market when the strategy decided, that of a stop its stop
    price, that of a limit order its limit. `slippage` is a fraction, > 0 is worse; `cost` is in quote.
    """
    times = [sample["time"] for sample in samples]
    found = []
    for order in orders:
        reference = _reference(order, samples, times)
        if not order["filled"] or order["average_price"] is None or reference is None:
            continue
        sign = 1 if order["side"] == "buy" else -1
        slippage = sign * (order["average_price"] - reference) / reference
        cost = slippage * reference * order["filled"]
        found.append({"order": order, "reference": reference, "slippage": slippage, "cost": cost})
    return found


def _reference(order: Mapping[str, Any], samples: Rows, times: list[float]) -> float | None:
    if order["type"] in ("stop", "take_profit"):
        return order["stop_price"]
    if order["type"] == "limit":
        return order["price"]
    index = bisect_right(times, order["timestamp"]) - 1
    return samples[index]["mid"] if index >= 0 else None


def statistics(samples: Rows, orders: Rows, fills: Rows) -> dict[str, float]:
    """Answer the numbers of a play; money in quote, ratios as fractions."""
    equity = [sample["equity"] for sample in samples] or [0.0]
    market = [row for row in slippages(orders, samples) if row["order"]["type"] == "market"]
    traded = sum(row["order"]["filled"] * row["reference"] for row in market)
    high, drawdown = equity[0], 0.0
    for value in equity:
        high = max(high, value)
        drawdown = max(drawdown, (high - value) / high if high else 0.0)
    held = sum(1 for sample in samples if sample["position"])
    return {
        "profit": equity[-1] - equity[0],
        "return": equity[-1] / equity[0] - 1 if equity[0] else 0.0,
        "max_drawdown": drawdown,
        "fees": sum(fill["fee"] for fill in fills),
        "slippage_cost": sum(row["cost"] for row in market),
        "slippage": sum(row["cost"] for row in market) / traded if traded else 0.0,
        "turnover": sum(fill["amount"] * fill["price"] for fill in fills),
        "orders": len(orders),
        "filled": sum(1 for order in orders if order["filled"]),
        "fills": len(fills),
        "bars": len(samples),
        "time_in_market": held / len(samples) if samples else 0.0,
    }


def tiles(numbers: Mapping[str, float], currency: str = "USDT") -> list[tuple[str, str]]:
    """Answer the numbers as people read them: (name, value)."""
    return [
        ("profit after fees", f"{numbers['profit']:+,.2f} {currency}"),
        ("return", f"{numbers['return']:+.3%}"),
        ("largest drawdown", f"{numbers['max_drawdown']:.3%}"),
        ("fees", f"{numbers['fees']:,.2f} {currency}"),
        ("market slippage", f"{numbers['slippage'] * 1e4:+.2f} bp"),
        ("lost to slippage", f"{numbers['slippage_cost']:,.2f} {currency}"),
        ("turnover", f"{numbers['turnover']:,.0f} {currency}"),
        ("orders / filled", f"{numbers['orders']:.0f} / {numbers['filled']:.0f}"),
        ("time in the market", f"{numbers['time_in_market']:.0%}"),
    ]


def moment(seconds: float) -> datetime:
    """Answer a time in UTC without its zone, as charts want it."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def figure(samples: Rows, orders: Rows, fills: Rows, *, base: str = "BTC", quote: str = "USDT") -> go.Figure:
    """Answer the charts: orders on price, equity, position, fees so far, slippage of each order."""
    titles = (
        "Price and orders",
        "Equity",
        "Position",
        "Fees so far",
        "Slippage: average fill against the mid at decision",
    )
    chart = make_subplots(
        rows=5, cols=1, shared_xaxes=True, vertical_spacing=0.045, row_heights=[0.36, 0.2, 0.14, 0.14, 0.16],
        subplot_titles=titles,
    )  # fmt: skip
    times = [moment(sample["time"]) for sample in samples]
    _add_price(chart, samples, times, orders, quote)
    _add_line(chart, 2, times, [s["equity"] for s in samples], "equity", EQUITY, f"%{{y:,.2f}} {quote}")
    position = [sample["position"] for sample in samples]
    _add_line(chart, 3, times, position, "position", NEUTRAL, f"%{{y:,.4~f}} {base}", shape="hv", fill="tozeroy")
    when, paid = fees_so_far(samples, fills)
    _add_line(chart, 4, when, paid, "fees", FEES, f"%{{y:,.2f}} {quote}", shape="hv")
    _add_slippage(chart, slippages(orders, samples), quote)
    for row, unit in enumerate((quote, quote, base, quote, "bp"), start=1):
        chart.update_yaxes(title_text=unit, row=row, col=1)
    _dress(chart)
    return chart


def fees_so_far(samples: Rows, fills: Rows) -> tuple[list[datetime], list[float]]:
    """Answer the steps of the sum of fees, from the first sample to the last."""
    paid = [0.0, *accumulate(fill["fee"] for fill in fills)]
    times = [fill["timestamp"] for fill in fills]
    if samples:
        times, paid = [samples[0]["time"], *times, samples[-1]["time"]], [*paid, paid[-1]]
    else:
        paid = paid[1:]
    return [moment(time) for time in times], paid


def _add_price(chart: go.Figure, samples: Rows, times: list[datetime], orders: Rows, quote: str) -> None:
    mids = [sample["mid"] for sample in samples]
    _add_line(chart, 1, times, mids, "mid price", PRICE, f"%{{y:,.2f}} {quote}", width=1.4)
    for side, colour, shape in (("buy", BUY, "triangle-up"), ("sell", SELL, "triangle-down")):
        name = f"{side}s filled"
        filled = [o for o in orders if o["side"] == side and o["filled"] and o["average_price"]]
        facts = [(o["type"], o["filled"], o["client_order_id"], o["strategy"] or "-") for o in filled]
        hover = (
            f"<b>{side} %{{customdata[0]}}</b> %{{customdata[1]}} at %{{y:,.2f}}<br>%{{x|%H:%M:%S}}"
            "<br>order %{customdata[2]}<br>strategy %{customdata[3]}<extra></extra>"
        )
        chart.add_trace(
            go.Scatter(
                x=[moment(o["updated"]) for o in filled], y=[o["average_price"] for o in filled], name=name,
                mode="markers", customdata=facts, hovertemplate=hover,
                marker={"symbol": shape, "size": 11, "color": colour, "line": {"width": 1, "color": "white"}},
            ),
            row=1, col=1,
        )  # fmt: skip


def _add_line(
    chart: go.Figure,
    row: int,
    x: list[datetime],
    y: list[float],
    name: str,
    colour: str,
    hover: str,
    *,
    shape: str = "linear",
    fill: str = "none",
    width: float = 2.0,
) -> None:
    line = {"color": colour, "width": width, "shape": shape}
    template = f"{name} {hover}<br>%{{x|%H:%M:%S}}<extra></extra>"
    chart.add_trace(
        go.Scatter(
            x=x, y=y, name=name, mode="lines", line=line, fill=fill, hovertemplate=template, showlegend=row == 1
        ),
        row=row,
        col=1,
    )


def _add_slippage(chart: go.Figure, rows: list[dict[str, Any]], quote: str) -> None:
    worse = [row["slippage"] * 1e4 for row in rows]
    facts = [(row["order"]["side"], row["order"]["type"], row["cost"], row["reference"]) for row in rows]
    hover = (
        f"%{{customdata[0]}} %{{customdata[1]}}: <b>%{{y:+.2f}} bp</b><br>%{{customdata[2]:+,.2f}} {quote} against "
        "%{customdata[3]:,.2f}<br>%{x|%H:%M:%S}<extra></extra>"
    )
    chart.add_trace(
        go.Scatter(
            x=[moment(row["order"]["updated"]) for row in rows], y=worse, mode="markers", name="slippage",
            marker={"size": 8, "color": [SELL if value > 0 else BUY for value in worse]},
            error_y={"type": "data", "symmetric": False, "array": [0.0] * len(worse), "arrayminus": worse, "width": 0,
                     "color": NEUTRAL, "thickness": 1.5},
            customdata=facts, hovertemplate=hover, showlegend=False,
        ),
        row=5, col=1,
    )  # fmt: skip


def _dress(chart: go.Figure) -> None:
    """One look for all: no colour that a light or a dark page would swallow."""
    grid = "rgba(128,138,150,0.22)"
    chart.update_layout(
        height=1120, margin={"l": 76, "r": 24, "t": 48, "b": 40}, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", font={"family": "system-ui, sans-serif", "size": 12, "color": "#7f8b98"},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#a3adb8", "activecolor": "#3b6fd4"},
        legend={"orientation": "h", "x": 0.14, "xanchor": "left", "y": 1.035}, hovermode="closest", bargap=0.2,
    )  # fmt: skip
    chart.update_xaxes(gridcolor=grid, zeroline=False, showspikes=True, spikemode="across", spikethickness=1)
    chart.update_yaxes(gridcolor=grid, zerolinecolor="rgba(128,138,150,0.5)", tickformat=",~r")
    chart.update_xaxes(title_text="time, UTC", row=5, col=1)
    for note in chart.layout.annotations:
        note.update(x=0, xanchor="left", font={"size": 14, "color": "#7f8b98"})


def page(title: str, about: str, chart: go.Figure, numbers: Mapping[str, float], orders: Rows) -> str:
    """Answer one HTML file with everything inside, plotly's script too."""
    cards = "".join(
        f'<div class="tile"><b{_tone(v)}>{escape(v)}</b><span>{escape(n)}</span></div>' for n, v in tiles(numbers)
    )
    options = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
    drawn = chart.to_html(full_html=False, include_plotlyjs=True, config=options)
    left_out = f", the last {SHOWN_ORDERS}" if len(orders) > SHOWN_ORDERS else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f'<p class="about">{escape(about)}</p><div class="tiles">{cards}</div><div class="card">{drawn}</div>'
        f'<h2>Orders{left_out}</h2><div class="card">{_order_table(orders[-SHOWN_ORDERS:])}</div></main></body></html>'
    )


def _tone(value: str) -> str:
    if value[0] not in "+-" or value.endswith("bp"):
        return ""
    return ' class="loss"' if value[0] == "-" else ' class="gain"'


def _order_table(orders: Rows) -> str:
    columns = ("time, UTC", "order", "side", "type", "amount", "price", "status", "filled", "average", "fee")
    texts = {"time, UTC", "order", "side", "type", "status"}
    head = "".join(f"<th{_text(name, texts)}>{name}</th>" for name in columns)
    body = []
    for order in orders:
        price = order["price"] if order["price"] is not None else order["stop_price"]
        cells = (
            f"{moment(order['timestamp']):%H:%M:%S}", order["client_order_id"], order["side"], order["type"],
            f"{order['amount']:,.10g}", _money(price), order["status"], f"{order['filled']:,.10g}",
            _money(order["average_price"], "-"), f"{order['fee']:,.4f}",
        )  # fmt: skip
        row = (
            f"<td{_text(name, texts, cell)}>{escape(str(cell))}</td>" for name, cell in zip(columns, cells, strict=True)
        )
        body.append(f"<tr>{''.join(row)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _text(name: str, texts: set[str], cell: str = "") -> str:
    if name not in texts:
        return ""
    return f' class="text {cell}"' if cell in ("buy", "sell") else ' class="text"'


def _money(value: float | None, otherwise: str = "market") -> str:
    return otherwise if value is None else f"{value:,.2f}"

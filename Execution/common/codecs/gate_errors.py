"""What a refusal of Gate's means: its labels, and what they prove of an order's fate."""

from __future__ import annotations

from typing import Any

from Execution.common.errors import ErrorCode, ExecutionError, Outcome

_REJECTED: dict[str, ErrorCode] = {
    "ACCOUNT_LOCKED": "AUTHENTICATION",
    "AMOUNT_TOO_LITTLE": "INVALID_ORDER",
    "AMOUNT_TOO_MUCH": "INVALID_ORDER",
    "AUTHENTICATION_FAILED": "AUTHENTICATION",
    "AUTO_INVALID_PARAM_PRICE": "INVALID_ORDER",
    "AUTO_INVALID_PARAM_SIZE": "INVALID_ORDER",
    "AUTO_INVALID_PARAM_TRIGGER_PRICE": "INVALID_ORDER",
    "AUTO_INVALID_PARAM_TRIGGER_RULE": "INVALID_ORDER",
    "AUTO_INVALID_REQUEST_BODY": "INVALID_ORDER",
    "AUTO_ORDER_NOT_FOUND": "ORDER_NOT_FOUND",
    "AUTO_TRIGGER_PRICE_GREATE_LAST": "INVALID_ORDER",
    "AUTO_TRIGGER_PRICE_GREATE_MARK": "INVALID_ORDER",
    "AUTO_TRIGGER_PRICE_LESS_LAST": "INVALID_ORDER",
    "AUTO_TRIGGER_PRICE_LESS_MARK": "INVALID_ORDER",
    "BAD_REQUEST": "INVALID_ORDER",
    "BALANCE_NOT_ENOUGH": "INSUFFICIENT_FUNDS",
    "CLIENT_ID_NOT_FOUND": "ORDER_NOT_FOUND",
    "CONTRACT_IN_DELISTING": "INVALID_SYMBOL",
    "CONTRACT_NOT_FOUND": "INVALID_SYMBOL",
    "ERR_QUOTA_LOWER_LIMIT": "INVALID_ORDER",
    "FORBIDDEN": "AUTHENTICATION",
    "FUTURES_BALANCE_NOT_ENOUGH": "INSUFFICIENT_FUNDS",
    "INCREASE_POSITION": "REDUCE_ONLY_REJECTED",
    "INITIAL_MARGIN_TOO_LOW": "INSUFFICIENT_FUNDS",
    "INSUFFICIENT_AVAILABLE": "INSUFFICIENT_FUNDS",
    "INVALID_ARGUMENT": "INVALID_ORDER",
    "INVALID_CREDENTIALS": "AUTHENTICATION",
    "INVALID_CURRENCY": "INVALID_SYMBOL",
    "INVALID_CURRENCY_PAIR": "INVALID_SYMBOL",
    "INVALID_KEY": "AUTHENTICATION",
    "INVALID_PARAM_VALUE": "INVALID_ORDER",
    "INVALID_PRECISION": "INVALID_ORDER",
    "INVALID_REQUEST_BODY": "INVALID_ORDER",
    "INVALID_SIGNATURE": "AUTHENTICATION",
    "IP_FORBIDDEN": "AUTHENTICATION",
    "LEVERAGE_TOO_HIGH": "INVALID_ORDER",
    "LEVERAGE_TOO_LOW": "INVALID_ORDER",
    "LIQUIDATE_IMMEDIATELY": "INSUFFICIENT_FUNDS",
    "MARGIN_BALANCE_NOT_ENOUGH": "INSUFFICIENT_FUNDS",
    "MISSING_REQUIRED_HEADER": "AUTHENTICATION",
    "MISSING_REQUIRED_PARAM": "INVALID_ORDER",
    "ORDER_CANCELLED": "ORDER_NOT_FOUND",
    "ORDER_CLOSED": "ORDER_NOT_FOUND",
    "ORDER_FINISHED": "ORDER_NOT_FOUND",
    "ORDER_NOT_FOUND": "ORDER_NOT_FOUND",
    "ORDER_NOT_OWNED": "ORDER_NOT_FOUND",
    "ORDER_POC_IMMEDIATE": "POST_ONLY_WOULD_CROSS",
    "POC_FILL_IMMEDIATELY": "POST_ONLY_WOULD_CROSS",
    "POSITION_EMPTY": "REDUCE_ONLY_REJECTED",
    "POSITION_NOT_FOUND": "REDUCE_ONLY_REJECTED",
    "PRICE_OVER_BANKRUPT": "INVALID_ORDER",
    "PRICE_OVER_LIQUIDATION": "INVALID_ORDER",
    "PRICE_THRESHOLD_EXCEEDED": "INVALID_ORDER",
    "PRICE_TOO_DEVIATED": "INVALID_ORDER",
    "QUANTITY_NOT_ENOUGH": "INVALID_ORDER",
    "READ_ONLY": "AUTHENTICATION",
    "REDUCE_EXCEEDED": "REDUCE_ONLY_REJECTED",
    "REDUCE_ONLY_FAIL": "REDUCE_ONLY_REJECTED",
    "REPEATED_CREATION": "DUPLICATE_ORDER",
    "SIZE_TOO_LARGE": "INVALID_ORDER",
    "SIZE_TOO_SMALL": "INVALID_ORDER",
    "SUB_ACCOUNT_LOCKED": "AUTHENTICATION",
    "USER_NOT_FOUND": "AUTHENTICATION",
}
# The venue did not take these up: the same request may be sent again.
_NOT_TAKEN: dict[str, ErrorCode] = {
    "REQUEST_EXPIRED": "CLOCK_SKEW",
    "TOO_FAST": "RATE_LIMITED",
    "TOO_MANY_REQUESTS": "RATE_LIMITED",
}
# The venue does not say whether it carried these out.
_UNKNOWN: dict[str, ErrorCode] = {"INTERNAL": "VENUE_DOWN", "SERVER_ERROR": "VENUE_DOWN", "TOO_BUSY": "VENUE_DOWN"}
_NO_REFUSAL = frozenset((408,))  # in the 4xx, and still no word on whether it was carried out


def parse_error(raw: Any, status: int = 400, retry_after: float | None = None) -> ExecutionError:
    """Answer what a failed request means. What is no answer of Gate's API, and every server error, proves nothing.

    Args:
        raw: the JSON of the answer; that of the socket API has its `label` in data.errs.
    """
    data = raw.get("data") if isinstance(raw, dict) and "label" not in raw else {"errs": raw}
    errors = data.get("errs") if isinstance(data, dict) else None
    if not isinstance(errors, dict) or not errors.get("label"):
        down = status >= 500 or status in _NO_REFUSAL
        words = f"gate answered {status} without a reason that can be read"
        return ExecutionError("VENUE_DOWN" if down else "BAD_RESPONSE", words, exchange_code=str(status))
    label = str(errors["label"])
    words = str(errors.get("message") or errors.get("detail") or label)[:300]
    message = words if label in words else f"{label}: {words}"
    code: ErrorCode
    outcome: Outcome = "rejected"
    if label in _NOT_TAKEN or status == 429:
        code, outcome = _NOT_TAKEN.get(label, "RATE_LIMITED"), "not_sent"
    elif label in _UNKNOWN or status >= 500 or status in _NO_REFUSAL:
        code, outcome = _UNKNOWN.get(label, "VENUE_DOWN"), "unknown"
    else:
        code = _REJECTED.get(label, "VENUE_REJECTED")
    return ExecutionError(code, message, outcome=outcome, exchange_code=label, retry_after=retry_after)

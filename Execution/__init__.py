"""Order execution for a quant team: plain functions, durable orders, one contract for every venue.

from Execution import execute_signal
execute_signal("paper", "BTC-USDT-SWAP", {"action": "buy", "amount": 0.01})
"""

from Execution.canceler import cancel_all_orders, cancel_everything, cancel_order, cancel_orders
from Execution.executor import Executor, execute_signal, execute_signals
from Execution.order_manager import OrderManager
from Execution.order_sender import place_order, place_orders
from Execution.position_manager import PositionManager
from Execution.registry import register
from Execution.risk_manager import RiskManager

__all__ = [
    "Executor",
    "OrderManager",
    "PositionManager",
    "RiskManager",
    "cancel_all_orders",
    "cancel_everything",
    "cancel_order",
    "cancel_orders",
    "execute_signal",
    "execute_signals",
    "place_order",
    "place_orders",
    "register",
]
__version__ = "0.1.0"

"""Time and memory of one item, in the process that this is."""
from __future__ import annotations

import os
import platform
import resource
import sys
import time
from typing import Any, Dict, List, Optional

from benchmarks.items import Item

# Linux forgets the peak of a process on demand; elsewhere the peak of preparing the inputs counts
# too.
_CLEAR_PEAK, _STATUS = '/proc/self/clear_refs', '/proc/self/status'


def _forget_peak() -> None:
    if os.path.exists(_CLEAR_PEAK):
        with open(_CLEAR_PEAK, 'w', encoding='ascii') as file:
            file.write('5')


def _peak_mebibytes() -> float:
    if os.path.exists(_CLEAR_PEAK):
        with open(_STATUS, encoding='ascii') as file:
            (line,) = [line for line in file if line.startswith('VmHWM')]
        return int(line.split()[1]) / 2 ** 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** 20 if sys.platform == 'darwin' else peak / 2 ** 10


def resident_mebibytes() -> float:
    """Of this process, now; its peak where the system does not say."""
    if not os.path.exists(_STATUS):
        return _peak_mebibytes()
    with open(_STATUS, encoding='ascii') as file:
        (line,) = [line for line in file if line.startswith('VmRSS')]
    return int(line.split()[1]) / 2 ** 10


def _device() -> str:
    """What TensorFlow computes on."""
    import tensorflow as tf
    gpus = tf.config.list_physical_devices('GPU')
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get('device_name', 'GPU')
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.split(':')[1].strip()
    return platform.processor() or platform.machine()


def _device_mebibytes() -> Optional[float]:
    """Peak of a GPU's memory since the start of the process; None without one."""
    import tensorflow as tf
    if not tf.config.list_physical_devices('GPU'):
        return None
    return tf.config.experimental.get_memory_info('GPU:0')['peak'] / 2 ** 20


def measure(item: Item, seconds: float) -> Dict[str, Any]:
    """Seconds of every call of an item, and mebibytes on top of its inputs.

    Memory that preparing the inputs freed may be used again without counting, so a few tens of
    mebibytes mean little.
    """
    run = item.build()
    _forget_peak()
    before = _peak_mebibytes()
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    run()  # TensorFlow still grows its buffers in the second call.
    times: List[float] = []
    processor = time.process_time()
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    processor = (time.process_time() - processor) / len(times)
    peak = _peak_mebibytes()  # Before TensorFlow is imported to ask for the device.
    return {
        'figures': {key: value for key, value in result.items() if isinstance(value, float)}
        if isinstance(result, dict) else {},
        'device': _device(),
        'device_peak': _device_mebibytes(),
        'first': first,
        'times': times,
        'processor': processor,
        'peak': peak - before,
        'process_peak': peak,
    }

"""A made profile of the process around a model: two threads that want the GIL, a session, and some memory."""

from infer_opt.profiles.surrounding import Stack, SurroundingProfile

ORT = "native (onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so)"
SESSION = "Session.run (onnxruntime/capi/onnxruntime_inference_collection.py:406)"
SURROUNDING = SurroundingProfile(
    subject="python serve.py model.onnx",
    seconds=10.0,
    rate_hz=50,
    stacks=(
        Stack(frames=("<module> (serve.py:30)", "main (serve.py:16)", SESSION, ORT), samples=300),
        Stack(frames=("<module> (serve.py:30)", "main (serve.py:15)", "prepare (serve.py:6)"), samples=150),
        Stack(frames=("<module> (serve.py:30)", "main (serve.py:15)", "prepare (serve.py:7)"), samples=50),
    ),
    waiting=(Stack(frames=("run (threading.py:982)", "poll (queue.py:9)"), samples=400),),
    waiting_for_gil=(Stack(frames=("run (threading.py:982)", "log (serve.py:40)", "take_gil (python)"), samples=125),),
    holding=(Stack(frames=("<module> (serve.py:30)", "prepare (serve.py:6)"), samples=200),),
    memory=(
        Stack(frames=("<module> (serve.py:30)", "load (serve.py:9)"), samples=8_000_000),
        Stack(frames=("<module> (serve.py:30)",), samples=2_000_000),
    ),
    peak_bytes=10_000_000,
    shares=(("onnxruntime", 0.6), ("application: serve.py", 0.4)),
    threads=(("MainThread", 490), ("worker", 10)),
    cpu_s=10.2,
    rss_peak_bytes=95_000_000,
    exit_code=3,
    notes=("memray recorded every allocation.",),
)

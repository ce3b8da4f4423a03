"""A policy network that imitates a linear-quadratic regulator on a simulated cart-pole.

The data is generated: our own integration of the cart-pole equations, driven by the exact LQR gain with random
pushes. An observation is (distance to the goal in m, velocity in m/s, sin and cos of the pole's angle, angular
velocity in rad/s, the last force as a share of the strongest); an action is one of five forces.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import helper
from scripts.small_models.learning import Array, Params, write_onnx

GRAVITY, CART_KG, POLE_KG, HALF_LENGTH_M = 9.8, 1.0, 0.1, 0.5
STEP_S = 0.02
FORCES_N = np.array([-10.0, -4.0, 0.0, 4.0, 10.0])
HIDDEN = (256, 256)
RATES = ((2e-3, 15), (3e-4, 10), (5e-5, 5))  # learning rate, epochs
EPISODES, EPISODE_STEPS = 400, 100
HELD_OUT_EPISODES = 40
HELD_OUT = 2000
CLOSED_LOOP_EPISODES, CLOSED_LOOP_S = 1000, 10


def derivative(state: Array, force: Array) -> Array:
    """Time derivative of (position, velocity, angle, angular velocity), each (batch,).

    Source: Barto, Sutton & Anderson 1983, without friction.
    """
    _, velocity, angle, spin = state
    mass = CART_KG + POLE_KG
    sin, cos = np.sin(angle), np.cos(angle)
    push = (force + POLE_KG * HALF_LENGTH_M * spin**2 * sin) / mass
    angular = (GRAVITY * sin - cos * push) / (HALF_LENGTH_M * (4 / 3 - POLE_KG * cos**2 / mass))
    return np.array([velocity, push - POLE_KG * HALF_LENGTH_M * angular * cos / mass, spin, angular])


def advance(state: Array, force: Array) -> Array:
    """The state one step later, by the midpoint rule."""
    middle = state + 0.5 * STEP_S * derivative(state, force)
    return np.asarray(state + STEP_S * derivative(middle, force))


def gain() -> Array:
    """The discrete-time LQR gain (4,) at the upright position: force = -gain @ state."""
    from scipy.linalg import solve_discrete_are

    tiny = 1e-5
    upright = np.eye(4) * tiny
    a = (advance(upright, np.zeros(4)) - advance(-upright, np.zeros(4))) / (2 * tiny)
    rest = np.zeros((4, 1))
    b = (advance(rest, np.array([tiny])) - advance(rest, np.array([-tiny]))) / (2 * tiny)
    cost, effort = np.diag([4.0, 0.4, 10.0, 0.4]), np.array([[0.02]])
    p = solve_discrete_are(a, b, cost, effort)
    return np.asarray(np.linalg.solve(effort + b.T @ p @ b, b.T @ p @ a)[0])


def observe(state: Array, last_force: Array) -> Array:
    """(batch, 6) float32."""
    position, velocity, angle, spin = state
    columns = [position, velocity, np.sin(angle), np.cos(angle), spin, last_force / FORCES_N[-1]]
    return np.stack(columns, axis=1).astype(np.float32)


def start(rng: np.random.Generator, episodes: int) -> Array:
    reach = np.array([2.0, 0.6, 0.22, 0.6])[:, None]
    return np.asarray(rng.uniform(-1, 1, (4, episodes)) * reach)


def advise(expert: Array, state: Array) -> Array:
    """The action (batch,) whose force is nearest to the one that the gain asks for."""
    return np.asarray(np.abs(FORCES_N[:, None] + expert @ state).argmin(axis=0))


def demonstrate(rng: np.random.Generator, episodes: int) -> tuple[Array, Array]:
    """Observations (n, 6) and the expert's actions (n,), in the order (step, episode).

    One action in five is replaced by a random one, so that the data shows how to recover; its label stays the expert's.
    """
    expert, state, last = gain(), start(rng, episodes), np.zeros(episodes)
    observations, actions = [], []
    for _ in range(EPISODE_STEPS):
        wanted = advise(expert, state)
        observations.append(observe(state, last))
        actions.append(wanted)
        pushed = rng.random(episodes) < 0.2
        last = FORCES_N[np.where(pushed, rng.integers(0, len(FORCES_N), episodes), wanted)]
        state = advance(state, last)
    return np.concatenate(observations), np.concatenate(actions).astype(np.int64)


def train(observations: Array, actions: Array, seed: int) -> list[tuple[Array, Array]]:
    """The (weight, bias) of each layer, with the observations' scale folded into the first."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    mean, spread = observations.mean(0), observations.std(0)
    network = MLPClassifier(HIDDEN, batch_size=256, warm_start=True, n_iter_no_change=100, random_state=seed)
    for rate, epochs in RATES:
        network.set_params(learning_rate_init=rate, max_iter=epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are the plan, not a limit it ran into
            network.fit((observations - mean) / spread, actions)
    layers = list(zip(network.coefs_, network.intercepts_, strict=True))
    first, bias = layers[0]
    layers[0] = (first / spread[:, None], bias - (mean / spread) @ first)
    return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers]


def act(layers: list[tuple[Array, Array]], observations: Array) -> Array:
    """The policy's actions (batch,)."""
    x = observations
    for index, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        x = np.maximum(x, 0) if index < len(layers) - 1 else x
    return np.asarray(x.argmax(axis=1))


def upright_share(choose: Callable[[Array, Array], Array], rng: np.random.Generator) -> float:
    """Share of fresh episodes after which the pole is within 12 degrees and the cart within 0.5 m of its goal.

    `choose` maps the state (4, episodes) and the last force (episodes,) to actions (episodes,).
    """
    state, last = start(rng, CLOSED_LOOP_EPISODES), np.zeros(CLOSED_LOOP_EPISODES)
    for _ in range(round(CLOSED_LOOP_S / STEP_S)):
        last = FORCES_N[choose(state, last)]
        state = advance(state, last)
    return float(np.mean((np.abs(state[2]) < np.radians(12)) & (np.abs(state[0]) < 0.5)))


def export(layers: list[tuple[Array, Array]], path: Path) -> None:
    weights: Params = {}
    nodes, previous = [], "observation"
    for index, (weight, bias) in enumerate(layers, start=1):
        weights |= {f"dense{index}.weight": weight.T, f"dense{index}.bias": bias}
        out = f"dense{index}" if index < len(layers) else "logits"
        names = [previous, f"dense{index}.weight", f"dense{index}.bias"]
        nodes.append(helper.make_node("Gemm", names, [out], f"dense{index}", transB=1))
        if index < len(layers):
            previous = f"relu{index}"
            nodes.append(helper.make_node("Relu", [out], [previous], previous))
    write_onnx(
        path,
        nodes,
        inputs={"observation": ["batch", 6]},
        outputs={"logits": ["batch", len(FORCES_N)]},
        weights=weights,
    )


def build(folder: Path, seed: int) -> dict[str, float]:
    """`policy_mlp.onnx` and `policy_mlp.npz` in `folder`; how often policy and expert balance, on the same episodes."""
    rng = np.random.default_rng(seed)
    layers = train(*demonstrate(rng, EPISODES), seed)
    observations, actions = demonstrate(rng, HELD_OUT_EPISODES)
    chosen = rng.permutation(len(actions))[:HELD_OUT]
    export(layers, folder / "policy_mlp.onnx")
    np.savez_compressed(folder / "policy_mlp.npz", observation=observations[chosen], labels=actions[chosen])
    expert = gain()
    return {
        "episodes": CLOSED_LOOP_EPISODES,
        "seconds": CLOSED_LOOP_S,
        "policy_balances": upright_share(
            lambda state, last: act(layers, observe(state, last)), np.random.default_rng(seed + 1)
        ),
        "expert_balances": upright_share(lambda state, _: advise(expert, state), np.random.default_rng(seed + 1)),
    }

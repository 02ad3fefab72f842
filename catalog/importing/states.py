"""Layers that keep a state per sequence: Gated DeltaNet, KDA, Mamba2."""

from catalog.architecture import LinearAttention, Mamba2
from catalog.importing.config import Config
from catalog.importing.windows import pattern_of

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def _stored(config: Config, *names: str, default: int) -> int:
    """Bytes of an element of the state: what vLLM takes from the file (models/config.py), else the family's own."""
    word = config.get(*names)
    if word is None:
        return default
    if word not in DTYPE_BYTES:
        config.miss(names[0], f"'{word}' is no dtype of a state")
    return DTYPE_BYTES.get(str(word), default)


def delta_net(config: Config, layers: int) -> LinearAttention:
    """Qwen3.5 (qwen_gdn_linear_attn.py): the dtype of the state is that of the file, else the model's."""
    return LinearAttention(
        layers=layers,
        key_heads=config.need("linear_num_key_heads"),
        value_heads=config.need("linear_num_value_heads"),
        key_head_dim=config.need("linear_key_head_dim"),
        value_head_dim=config.need("linear_value_head_dim"),
        conv_kernel=config.whole("linear_conv_kernel_dim") or 4,
        state_bytes_per_element=_stored(config, "mamba_ssm_dtype", default=2),
    )


def qwen3_next(config: Config, layers: int) -> LinearAttention:
    """The same, its state always in the model's dtype: vLLM takes none from the file (models/config.py)."""
    return delta_net(config, layers).model_copy(update={"state_bytes_per_element": 2})


def kda(config: Config, layers: int) -> LinearAttention:
    """Kimi Linear; its state is fp32 (mamba_utils.py, kda_state_dtype)."""
    linear = config.section("linear_attn_config")
    heads, dim = linear.need("num_heads"), linear.need("head_dim")
    return LinearAttention(
        kind="kda",
        layers=layers,
        key_heads=heads,
        value_heads=heads,
        key_head_dim=dim,
        value_head_dim=dim,
        conv_kernel=linear.whole("short_conv_kernel_size") or 4,
        state_bytes_per_element=4,
    )


def nemotron_h(config: Config, _: int) -> Mamba2:
    """Nemotron-H: its file names the dtype of the state, else it is fp32 (NemotronHForCausalLMConfig)."""
    return Mamba2(
        layers=pattern_of(config).count("M") or 1,
        heads=config.need("mamba_num_heads"),
        head_dim=config.need("mamba_head_dim"),
        state_size=config.need("ssm_state_size"),
        groups=config.whole("n_groups") or 8,
        conv_kernel=config.whole("conv_kernel") or 4,
        state_bytes_per_element=_stored(config, "mamba_ssm_cache_dtype", default=4),
    )


def granite(config: Config, layers: int) -> Mamba2:
    """Granite 4 and Falcon-H1: the inner size is heads × their dimension; the state has the model's dtype."""
    heads = config.need("mamba_n_heads")
    dim = config.get("mamba_d_head")
    inner = config.whole("mamba_d_ssm") or (config.whole("mamba_expand") or 2) * config.need("hidden_size")
    return Mamba2(
        layers=layers,
        heads=heads,
        head_dim=dim if isinstance(dim, int) and dim > 0 else inner // heads,
        state_size=config.need("mamba_d_state"),
        groups=config.whole("mamba_n_groups") or 1,
        conv_kernel=config.whole("mamba_d_conv") or 4,
    )

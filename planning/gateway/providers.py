"""External providers: off by default, fallbacks of models that say so, asked by nobody else.

What may leave is decided here, where it can be tested, and held once more in the gateway's own process
(components/pod_scripts/gateway_providers.py): LiteLLM by itself serves every name it knows to every key.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from catalog.schema import Networks
from planning.gateway.fallbacks import chains_of
from planning.gateway.outside import Places
from planning.gateway.prices import per_token
from planning.plan.access import SecretVariable
from planning.plan.gateway import GatewayPlan
from planning.plan.providers import ProviderModel, ProviderPlan
from planning.stack.network import endpoint_problems, host_of, is_inside
from planning.stack.outward import through_proxy
from settings.doubt import judge
from settings.problems import Problem
from settings.schema import ClusterSettings, ProviderSettings, StackSettings, public_names

# The module beside LiteLLM's configuration, its object and its data: components/pod_scripts/gateway_providers.py.
PROVIDERS_MODULE = "gateway_providers"
PROVIDERS_HOOK = f"{PROVIDERS_MODULE}.providers"
PROVIDERS_FILE = "providers.json"


@dataclass(frozen=True)
class Kind:
    """One API. `provider`: LiteLLM's word for it; `base_url`: where it is if nothing is said; None: nowhere."""

    provider: str
    base_url: str | None


# Base URLs as LiteLLM 1.109.1 wants them: it adds /chat/completions to the first, /v1/messages to the second.
KINDS: Mapping[str, Kind] = {
    "openAi": Kind("openai", "https://api.openai.com/v1"),
    "anthropic": Kind("anthropic", "https://api.anthropic.com"),
    "openAiCompatible": Kind("openai", None),
}


def plan_providers(settings: StackSettings) -> tuple[ProviderPlan, ...]:
    """Those that are told where they are, in the order of their names."""
    planned, chains = [], chains_of(settings.models)
    for name, provider in sorted(settings.gateway.providers.items()):
        base_url = provider.endpoint or KINDS[provider.kind].base_url
        if base_url is None:
            continue
        models = tuple(_model(provider, model) for model in sorted(provider.models))
        names = {model.name for model in models}
        planned.append(
            ProviderPlan(
                name=name,
                base_url=base_url.rstrip("/"),
                host=host_of(base_url),
                key=SecretVariable(
                    f"PROVIDER_KEY_{name.upper().replace('-', '_')}", provider.existing_secret, provider.entry
                ),
                models=models,
                asked_for={
                    served: tuple(model for model in names_of if model in names)
                    for served, names_of in chains.items()
                    if names.intersection(names_of)
                },
            )
        )
    return tuple(planned)


def _model(settings: ProviderSettings, name: str) -> ProviderModel:
    model = settings.models[name]
    prices = model.price_usd_per_million_tokens
    input_cost, output_cost = per_token(prices) if prices else (0.0, 0.0)
    return ProviderModel(
        name=name,
        model=f"{KINDS[settings.kind].provider}/{model.model}",
        context_tokens=model.context_tokens,
        input_cost_per_token=input_cost,
        output_cost_per_token=output_cost,
        direct=model.direct,
    )


def provider_models(settings: StackSettings) -> dict[str, str]:
    """Name of each model of a provider → the provider."""
    return {model: name for name, provider in sorted(settings.gateway.providers.items()) for model in provider.models}


def provider_places(settings: StackSettings) -> Places:
    """Name of the place → where it is: as it is said, or where its kind is."""
    return {
        f"provider-{name}": (provider, host_of(KINDS[provider.kind].base_url or ""))
        for name, provider in sorted(settings.gateway.providers.items())
        if provider.endpoint or KINDS[provider.kind].base_url
    }


def provider_problems(settings: StackSettings, taken: Collection[str], networks: Networks) -> list[Problem]:
    """Everything against providers, and against models that lead to them. `taken`: names and ids of the stack's own."""
    problems: list[Problem] = []
    owner: dict[str, str] = {}
    names = public_names(settings.models)
    for name, provider in sorted(settings.gateway.providers.items()):
        path = f"gateway.providers.{name}"
        problems += judge(_endpoint_problems, provider, path, settings.cluster, networks)
        for model, model_settings in provider.models.items():
            at = f"{path}.models.{model}"
            if model in taken or model in names or model in names.values():
                ours = f"'{model}' is a model or server of this stack"
                problems.append(Problem(at, f"{ours}; call it otherwise, such as {name}-{model}"))
            elif other := owner.get(model):
                theirs = f"'{model}' is a model of {other} already"
                problems.append(Problem(at, f"{theirs}; call it otherwise, such as {name}-{model}"))
            owner.setdefault(model, name)
            if settings.gateway.database and model_settings.price_usd_per_million_tokens is None:
                problems.append(
                    Problem(
                        f"{at}.priceUsdPerMillionTokens",
                        "is needed: keys of gateway.database may have budgets; write what the provider charges, e.g. "
                        "{input: 2, output: 8}",
                    )
                )
    return [*problems, *_leaving(settings, owner)]


def _endpoint_problems(
    provider: ProviderSettings, path: str, cluster: ClusterSettings, networks: Networks
) -> Iterator[Problem]:
    if provider.endpoint is None:
        if KINDS[provider.kind].base_url is None:
            yield Problem(f"{path}.endpoint", f"is needed with kind {provider.kind}, e.g. https://llm.example.com/v1")
        return
    yield from endpoint_problems(provider, path, networks, cluster.namespace, "provider")
    if provider.endpoint.startswith("http://") and not is_inside(provider):
        yield Problem(f"{path}.endpoint", f'"{provider.endpoint}" would send keys and prompts in clear; write https://')


def _leaving(settings: StackSettings, owner: Mapping[str, str]) -> Iterator[Problem]:
    """A model whose requests must stay and could reach a provider, by a fallback of its own or of its fallbacks."""
    chains, names = chains_of(settings.models), public_names(settings.models)
    for name, model in settings.models.items():
        if model.data_policy == "mayLeave":
            continue
        for position, fallback in enumerate(model.fallbacks):
            reached = [fallback, *chains.get(names.get(fallback, fallback), ())]
            outside = next((each for each in reached if each in owner and each != names[name]), None)
            if outside is None:
                continue
            what = f"'{fallback}'" if outside == fallback else f"'{fallback}' leads to '{outside}', which"
            yield Problem(
                f"models.{name}.fallbacks[{position}]",
                f"{what} is a model of {owner[outside]}, outside, and requests for '{name}' stay; write "
                f"models.{name}.dataPolicy: mayLeave, or leave '{fallback}' out",
            )


def provider_warnings(settings: StackSettings, providers: Collection[ProviderPlan]) -> Iterator[str]:
    """A warning for each model whose requests leave, and for whatever is declared for nothing."""
    used = {model for provider in providers for models in provider.asked_for.values() for model in models}
    for provider in providers:
        for served, models in provider.asked_for.items():
            yield f"{served}: its requests leave for {provider.host} ({', '.join(models)}) when no server answers them"
        for model in provider.models:
            if model.direct:
                yield f"gateway: whoever may ask {model.name} sends what they ask to {provider.host}"
            elif model.name not in used:
                yield (
                    f"gateway: nothing asks {model.name} of {provider.name}; make it a fallback, write direct: true, "
                    "or leave it out"
                )
            if not (model.input_cost_per_token and model.output_cost_per_token):
                yield (
                    f"gateway: {model.name} of {provider.name} is charged at zero; give its priceUsdPerMillionTokens"
                )
    leaving = {served for provider in providers for served in provider.asked_for}
    names = public_names(settings.models)
    for name, model in settings.models.items():
        if model.data_policy == "mayLeave" and names[name] not in leaving:
            yield f"{name}: dataPolicy mayLeave changes nothing, since none of its fallbacks is a provider's"


def provider_reasons(settings: StackSettings, providers: Collection[ProviderPlan]) -> dict[str, str]:
    """The reason for the ways out: what is opened, and what holds it to the hosts."""
    if not providers:
        return {}
    texts = []
    for provider in providers:
        at = settings.gateway.providers[provider.name]
        if through_proxy(at, provider.host, settings.cluster):
            way = "through cluster.proxy alone, whose list of hosts decides"
        elif is_inside(at):
            way = "inside the private network"
        else:
            way = "opens its port to every public address, since no NetworkPolicy names a host; cluster.proxy could"
        texts.append(f"{provider.name} at {provider.host}: {way}")
    return {"providers": "; ".join(texts)}


def provider_entries(gateway: GatewayPlan) -> list[dict[str, object]]:
    """Their part of LiteLLM's list of models. Parameters that a provider does not take are dropped, not refused."""
    return [
        {
            "model_name": model.name,
            "litellm_params": {
                "model": model.model,
                "api_base": provider.base_url,
                "api_key": f"os.environ/{provider.key.name}",
                "timeout": gateway.request_timeout_s,
                "stream_timeout": gateway.first_token_timeout_s,
                "drop_params": True,
            },
            "model_info": {
                # its name: by any other id LiteLLM would choose it without asking the hooks (1.109.1, tried)
                "id": model.name,
                "input_cost_per_token": model.input_cost_per_token,
                "output_cost_per_token": model.output_cost_per_token,
            },
        }
        for provider in gateway.providers
        for model in provider.models
    ]


def providers_file(gateway: GatewayPlan) -> Mapping[str, object]:
    """Data for the module beside LiteLLM's configuration: see components/pod_scripts/gateway_providers.py."""
    models = [(provider, model) for provider in gateway.providers for model in provider.models]
    served = dict.fromkeys(route.model_name for route in gateway.routes)
    return {
        "public": sorted([*served, *(model.name for _, model in models if model.direct)]),
        "hidden": sorted(model.name for _, model in models if not model.direct),
        "reached_from": {
            model.name: sorted(
                [
                    *(name for name, names in provider.asked_for.items() if model.name in names),
                    *([model.name] if model.direct else []),
                ]
            )
            for provider, model in models
        },
    }

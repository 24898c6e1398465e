"""All settings in one object."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from settings.database import DatabaseSettings
from settings.factors import FactorSettings
from settings.http import HttpSettings
from settings.introspection import IntrospectionSettings
from settings.log import LogSettings
from settings.login import LoginSettings
from settings.mail import MailSettings
from settings.metrics import MetricsSettings
from settings.migrations import MigrationSettings
from settings.passwords import OWASP_MINIMUMS, PasswordSettings
from settings.retention import RetentionSettings
from settings.secrets import SecretsSettings
from settings.section import Section
from settings.sessions import SessionSettings
from settings.sources import read_variables
from settings.throttle import ThrottleSettings
from settings.tokens import TokenSettings
from settings.values import Constraint, LowerCase, PublicUrl
from settings.variables import setting_variables, tree_of


class Settings(Section, BaseSettings):
    """All settings, checked.

    Arguments override variables; `settings.sources` reads the variables.
    Raises: pydantic.ValidationError; `get_settings` says the same in words, and what is wrong with files.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    profile: Annotated[Literal["production", "test"], LowerCase] = Field(
        default="production",
        description="test: accept Argon2id parameters below the OWASP minimum, and listen on loopback only.",
    )
    registration: Annotated[Literal["closed", "open"], LowerCase] = Field(
        default="closed",
        description="open: anybody may create a user; closed: administrators and API keys only.",
    )
    login_ids: Annotated[Literal["ascii", "unicode"], LowerCase] = Field(
        default="ascii",
        description="unicode: login ids may have letters and digits of any script, as RFC 8265 allows. With "
        "such login ids in use there is no way back: their users could not log in.",
    )
    service_name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,62}$"),
        Constraint("1 to 63 letters, digits, dots, dashes or underscores, a letter first"),
    ] = Field(
        default="rollcall",
        description="Name on database connections and in traces; not allowed in passwords.",
    )
    public_url: PublicUrl | None = Field(
        default=None,
        description="Address under which clients reach the service; named in mails. It is the issuer "
        "(`iss`) in introspection and metadata; unset, there is no metadata.",
    )
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    passwords: PasswordSettings = Field(default_factory=PasswordSettings)
    sessions: SessionSettings = Field(default_factory=SessionSettings)
    login: LoginSettings = Field(default_factory=LoginSettings)
    factors: FactorSettings = Field(default_factory=FactorSettings)
    throttle: ThrottleSettings = Field(default_factory=ThrottleSettings)
    tokens: TokenSettings = Field(default_factory=TokenSettings)
    introspection: IntrospectionSettings = Field(default_factory=IntrospectionSettings)
    secrets: SecretsSettings = Field(default_factory=SecretsSettings)
    mail: MailSettings = Field(default_factory=MailSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    migrations: MigrationSettings = Field(default_factory=MigrationSettings)

    @property
    def migrations_dsn(self) -> str | None:
        """The URL that migrations use, with its password, or None for the embedded database."""
        own = self.migrations.database_url
        return own.get_secret_value() if own else self.database.dsn

    @property
    def migrations_variable(self) -> str:
        """The name of the variable that `migrations_dsn` comes from."""
        return "ROLLCALL_MIGRATIONS__DATABASE_URL" if self.migrations.database_url else "DATABASE_URL"

    @property
    def migrates_on_start(self) -> bool:
        """Whether the service migrates before it serves."""
        if self.migrations.on_start is None:
            return self.migrations_dsn is None
        return self.migrations.on_start

    @property
    def serves_metrics_beside_api(self) -> bool:
        """Whether `/metrics` is on the port of the API. Source: OWASP ASVS 5.0 13.4.5."""
        if self.metrics.port is not None:
            return False
        return self.http.is_loopback if self.metrics.enabled is None else self.metrics.enabled

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each conflict between sections."""
        yield from self._profile_conflicts()
        yield from self._factor_conflicts()
        if self.database.command_timeout >= self.http.request_timeout:
            yield (
                "ROLLCALL_HTTP__REQUEST_TIMEOUT: must be longer than ROLLCALL_DATABASE__COMMAND_TIMEOUT, "
                "or requests would end while their statement still runs"
            )
        if self.metrics.port == self.http.port:
            yield ("ROLLCALL_METRICS__PORT: must differ from ROLLCALL_HTTP__PORT (unset, both share one)")

    def _factor_conflicts(self) -> Iterator[str]:
        has_factors = self.secrets.key is not None or self.factors.rp_id is not None
        if self.factors.required != "nobody" and not has_factors:
            yield (
                "ROLLCALL_FACTORS__REQUIRED: nobody could enrol: set ROLLCALL_SECRETS__KEY for authenticator "
                "apps, or ROLLCALL_FACTORS__RP_ID and ROLLCALL_FACTORS__ORIGINS for passkeys"
            )

    def _profile_conflicts(self) -> Iterator[str]:
        if self.profile == "test" and not self.http.is_loopback:
            yield "ROLLCALL_HTTP__HOST: must be a loopback address while ROLLCALL_PROFILE is test"
        if self.profile != "test" and not self.passwords.meets_owasp_minimum:
            minimums = ", ".join(f"{memory} with {iterations}" for memory, iterations in OWASP_MINIMUMS)
            yield (
                "ROLLCALL_PASSWORDS__MEMORY_KIB: must meet the OWASP minimum together with "
                f"ROLLCALL_PASSWORDS__ITERATIONS: at least {minimums}"
            )

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use arguments first, then the variables as `settings.sources` reads them."""
        variables = setting_variables(settings_cls)
        found, _ = read_variables(variables)
        return init_settings, InitSettingsSource(settings_cls, init_kwargs=tree_of(found, variables))

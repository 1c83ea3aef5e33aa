"""What a config says of the student to come, for the terms gate: the same in a curation and in a training."""

from tutelage.schemas.config_file import Section
from tutelage.schemas.terms_resolution import Override, Policy


class TermsPolicy(Section):
    """What the gate has to know of the student to come; the defaults permit least."""

    distributed: bool = True
    competes_with_teacher: bool = True
    overrides: tuple[Override, ...] = ()
    terms_register: str | None = None

    @property
    def student(self) -> Policy:
        return Policy(distributed=self.distributed, competes_with_teacher=self.competes_with_teacher)

"""The student that is evaluated: its record, and that its files are the ones that the record names."""

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pydantic import ValidationError

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contract_files import open_parquet
from tutelage.schemas.contracts import TRAINING_ROWS as TRAINING_ROWS_CONTRACT
from tutelage.schemas.errors import ContractError
from tutelage.train.config import Base, TrainConfig
from tutelage.train.record.run_record import StudentRun
from tutelage.train.record.trace import checked_run
from tutelage.train.student_folder import RUN, TRAINING_ROWS


class Student(NamedTuple):
    folder: Path
    run: StudentRun
    run_sha256: str
    config: TrainConfig

    @property
    def base(self) -> Base:
        """The student itself, as something that can be loaded."""
        return Base(folder=str(self.folder))

    def trained_ids(self) -> pa.Array:
        """Ids of the rows that taught it, each once."""
        path = self.folder / TRAINING_ROWS
        with path.open("rb") as stream:
            parquet = open_parquet(TRAINING_ROWS_CONTRACT, stream, str(path))
            return parquet.read(["row_id"]).column("row_id").unique()


def open_student(folder: str) -> Student:
    """Raises ConfigError where there is no finished student, SealBroken where a file is not the one of the record."""
    path = Path(folder)
    run = checked_run(path)
    try:
        config = TrainConfig.model_validate(run.config)
    except ValidationError as error:
        raise ContractError(
            f"{path / RUN}: its config is none that this tutelage reads ({error.error_count()} problems, the first: "
            f"{error.errors()[0]['msg']}); use the version that trained it: {run.code_version}"
        ) from error
    return Student(path, run, sha256_hex((path / RUN).read_bytes()), config)

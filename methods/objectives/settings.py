"""Kinds of settings that methods share, each with the values it may take; a value outside is refused with its name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Rate = Annotated[float, Field(gt=0, le=1)]  # never none: of the tokens to mask, of the words to take
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]  # of a term of the loss
Temperature = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]

from yunhe.core.errors import InvalidRequest, NotFound, QuotaExceeded, YunheError


def all_errors(cls: type[YunheError] = YunheError) -> list[type[YunheError]]:
    return [cls, *(e for sub in cls.__subclasses__() for e in all_errors(sub))]


def test_an_errors_docstring_is_its_default_message() -> None:
    assert str(NotFound()) == "There is no such thing."


def test_details_are_fields_and_not_prose() -> None:
    error = InvalidRequest("replicas must not be negative", field="replicas", value=-1)
    assert error.details == {"field": "replicas", "value": -1}
    assert error.message == "replicas must not be negative"


def test_every_error_has_a_code_of_its_own_a_status_and_a_next_step() -> None:
    errors = all_errors()
    codes = [e.code for e in errors if "code" in vars(e)]
    assert len(codes) == len(set(codes))
    for error in errors:
        assert 400 <= error.http_status <= 599
        assert error.default_next_step.endswith((".", ")"))


def test_only_what_may_succeed_later_is_retryable() -> None:
    assert QuotaExceeded(retry_after_s=1.5).retry_after_s == 1.5
    assert QuotaExceeded.retryable
    assert not InvalidRequest.retryable

from harness.environment import REPOSITORY


def test_no_package_among_the_tests():
    # The repository's root is a package for ComfyUI's sake. A package in tests/ would make pytest
    # import it under the name of the folder it was cloned into, such as "copy" or "app", and hide
    # the module of that name from everybody else.
    assert list((REPOSITORY / "tests").rglob("__init__.py")) == []

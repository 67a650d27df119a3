"""Run by Python at its start under ``headrace run``: makes headrace asyncio's default loop.

This folder is not a package.  headrace.activate puts it in front of $PYTHONPATH, and so Python's
``site`` module imports this file, in the program and in every Python that the program starts
(uvicorn's and multiprocessing's workers).  The program must not notice:

* the folder leaves sys.path again before the program starts;
* nothing is imported here: headrace is loaded after ``import asyncio``, if that ever comes;
* a sitecustomize of the user's, which this one hides, runs as it would have run.
"""

import os
import sys


class ImportWatcher:
    """A finder that finds nothing itself, but calls ``action(module)`` after a module's import.

    It watches until that import has succeeded: a module is often looked for without being imported
    (importlib.util.find_spec(), ``python -m asyncio``), and an import that has failed may be tried
    again.
    """

    def __init__(self, name, action):
        self.name = name
        self.action = action
        sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        # Asked directly, and not by another search from the start: that would come here again.
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    act_after(spec.loader, name, self.imported)
                return spec
        return None

    def imported(self, module):
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self.action(module)


def act_after(loader, name, action):
    """Let this loader call ``action(module)`` after it has run the code of the module *name*."""
    stock = loader.exec_module

    def exec_module(module):
        # One loader may serve many modules (a zip archive's does), and may be asked for this one
        # several times: then each layer calls the one below it, and the first action is the only.
        stock(module)
        if module.__name__ == name:
            loader.__dict__.pop("exec_module", None)
            action(module)

    # Python drops its import system's frames from tracebacks, and tells them by the file name.
    # With that name, a failing ``import asyncio`` (a selectors.py beside the script) looks as ever.
    machinery = type(loader).exec_module.__code__.co_filename
    exec_module.__code__ = exec_module.__code__.replace(co_filename=machinery)
    loader.exec_module = exec_module


def make_default(asyncio):
    if not hasattr(asyncio, "DefaultEventLoopPolicy"):
        return  # a file of the program's that happens to be called asyncio.py
    try:
        load_headrace()
        from headrace import policy
    except ImportError as error:
        # A Python of another version, started by the program: it cannot load the native modules.
        print(f"headrace: not active in {sys.executable}: {error}", file=sys.stderr)
    else:
        policy.make_default()
        ImportWatcher("uvicorn.loops.auto", policy.make_default_of_uvicorn)


def load_headrace():
    """Import headrace, from where this file stands if this Python does not have it installed.

    So a service in a virtual environment of its own can be measured without a change to it.
    """
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    if "headrace" in sys.modules or find_spec("headrace") is not None:
        return
    package = os.path.dirname(FOLDER)
    spec = spec_from_file_location(
        "headrace", os.path.join(package, "__init__.py"), submodule_search_locations=[package]
    )
    module = sys.modules["headrace"] = module_from_spec(spec)
    spec.loader.exec_module(module)


FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if entry != FOLDER]
if "asyncio" in sys.modules:
    make_default(sys.modules["asyncio"])
else:
    ImportWatcher("asyncio", make_default)

# The user's own.  Where there is none, the ImportError is the one that ``site`` expects.
del sys.modules["sitecustomize"]
import sitecustomize  # noqa: E402, F401

"""What supervisord asks setuptools for, and nothing else of it: to import the whole takes longer than everything else
that supervisorctl does, and it is started hundreds of times."""

from functools import reduce
from importlib import import_module


class EntryPoint:
    def __init__(self, module, attribute):
        self.module = module
        self.attribute = attribute

    @classmethod
    def parse(cls, spec):
        _, _, target = spec.partition("=")
        module, _, attribute = target.strip().partition(":")
        return cls(module, attribute)

    def resolve(self):
        return reduce(getattr, filter(None, self.attribute.split(".")), import_module(self.module))

"""`python -m tutelage.cli`: the `tutelage` command where only a module can be started, as by torchrun."""

from tutelage.cli.main import run

if __name__ == "__main__":
    run()

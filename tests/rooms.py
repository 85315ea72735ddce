"""Rooms and arrows of a package: its direct children, and which of them import which. `python tests/rooms.py`."""

import sys

import grimp

WINGS = ("rsrl_ray.analysis", "rsrl_ray.sweep")


def rooms_and_arrows(package: str) -> tuple[set[str], set[tuple[str, str]]]:
    """The names of the package's children, and pairs of them of which the first imports the second."""
    graph = grimp.build_graph(package.partition(".")[0])
    homes = {
        module: room.removeprefix(f"{package}.")
        for room in graph.find_children(package)
        for module in {room} | graph.find_descendants(room)
    }
    arrows = {
        (room, homes[imported])
        for module, room in homes.items()
        for imported in graph.find_modules_directly_imported_by(module)
        if imported in homes and homes[imported] != room
    }
    return set(homes.values()), arrows


if __name__ == "__main__":
    for wing in sys.argv[1:] or WINGS:
        rooms, arrows = rooms_and_arrows(wing)
        print(f"{wing}: {len(rooms)} rooms, {len(arrows)} arrows")
        for room in sorted(rooms):
            seen = sorted(imported for importer, imported in arrows if importer == room)
            print(f"  {room} > {', '.join(seen)}" if seen else f"  {room}")

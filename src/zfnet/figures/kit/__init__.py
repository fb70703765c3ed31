"""What every figure is made of: style, grids, maps, charts."""

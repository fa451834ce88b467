package config

// row makes a row of the table. It is generic so that a default of the wrong type does not compile.
func row[T any](name string, k kind[T], def T, field func(*Config) *T, reload bool, help string) Key {
	return Key{
		Name:    name,
		Type:    k.name,
		Unit:    k.unit,
		Default: k.show(def),
		Allowed: k.allowed,
		Reload:  reload,
		Help:    help,
		reset:   func(c *Config) { *field(c) = def },
		set: func(c *Config, v any) error {
			value, err := k.read(v)
			if err == nil {
				*field(c) = value
			}
			return err
		},
		show: func(c Config) string { return k.show(*field(&c)) },
		copy: func(to *Config, from Config) { *field(to) = *field(&from) },
		bare: k.bare,
	}
}

func (k Key) example(value string) Key {
	k.Example = value
	return k
}

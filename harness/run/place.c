// SPDX-License-Identifier: MIT
#include "harness/run/place.h"

#include <stdio.h>
#include <string.h>

static const double gib = 1073741824;

int place_is_apart(const struct place *place)
{
	return strcmp(place->device, "cpu") != 0;
}

int place_check(const struct place *place, struct err *err)
{
	if (place->precision == PRECISION_BF16 && !place_is_apart(place))
		return err_set(err,
		        "precision bf16 needs a device: the cpu multiplies in f32 (device: cuda, or precision: f32)");
	return 0;
}

// What there is of a device, from the first look on: a grid has many points and one device.
static const struct device_look *look_at(const char *device, struct err *err)
{
	static struct device_look look;
	static char seen[DEVICE_TEXT];
	if (strcmp(seen, device)) {
		if (device_look(&look, device, err))
			return NULL;
		snprintf(seen, sizeof(seen), "%s", device);
	}
	return &look;
}

int place_admit(const struct place *place, double bytes, double recomputed, struct err *err)
{
	if (!place_is_apart(place))
		return 0;
	struct err absent = {0};
	const struct device_look *look = look_at(place->device, &absent);
	if (!look || look->available < 0 || bytes <= look->available)
		return 0;
	if (!place->recompute && recomputed <= look->available)
		return err_set(err,
		        "needs %.2f GiB of the memory of device '%s', which has %.2f GiB free (recompute: true takes "
		        "%.2f)",
		        bytes / gib, place->device, look->available / gib, recomputed / gib);
	return err_set(err, "needs %.2f GiB of the memory of device '%s', which has %.2f GiB free (a smaller batch%s)",
	        bytes / gib, place->device, look->available / gib, place->recompute ? "" : ", and recompute: true");
}

const struct backend *place_open(const struct place *place, double bytes, struct err *err)
{
	const struct backend *backend = device_open(place->device, place->precision == PRECISION_F32, err);
	if (!backend || (backend->memory && device_check_memory(backend, bytes, err)))
		return NULL;
	return backend;
}

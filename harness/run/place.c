// SPDX-License-Identifier: MIT
#include "harness/run/place.h"

#include <math.h>
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

static int choose(const struct place *place, const struct place_bytes *need, double available)
{
	return place->recompute == RECOMPUTE_AUTO ? need->kept > available : place->recompute == RECOMPUTE_YES;
}

// Of the device's memory; infinite where nobody knows.
static double available_at(const struct place *place)
{
	struct err absent = {0};
	const struct device_look *look = place_is_apart(place) ? look_at(place->device, &absent) : NULL;
	return look && look->available >= 0 ? look->available : INFINITY;
}

int place_recomputes(const struct place *place, const struct place_bytes *need)
{
	return choose(place, need, place->recompute == RECOMPUTE_AUTO ? available_at(place) : INFINITY);
}

int place_admit(const struct place *place, const struct place_bytes *need, struct err *err)
{
	const double available = available_at(place);
	const int recomputes = choose(place, need, available);
	const double bytes = place_needs(need, recomputes);
	if (bytes <= available)
		return 0;
	if (!recomputes && need->again <= available)
		return err_set(err,
		        "needs %.2f GiB of the memory of device '%s', which has %.2f GiB free (recompute: true takes "
		        "%.2f)",
		        bytes / gib, place->device, available / gib, need->again / gib);
	return err_set(err, "needs %.2f GiB of the memory of device '%s', which has %.2f GiB free (a smaller batch%s)",
	        bytes / gib, place->device, available / gib, recomputes ? "" : ", and recompute: true");
}

const struct backend *place_open(
        const struct place *place, const struct place_bytes *need, int *recomputes, struct err *err)
{
	const struct backend *backend = device_open(place->device, place->precision == PRECISION_F32, err);
	if (!backend)
		return NULL;
	*recomputes = choose(place, need, backend->memory ? backend->memory->available() : INFINITY);
	if (backend->memory && device_check_memory(backend, place_needs(need, *recomputes), err))
		return NULL;
	return backend;
}

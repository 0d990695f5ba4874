"""Makes up skeletons of everyday actions: bodies, scripts of actions, a camera and a sensor."""

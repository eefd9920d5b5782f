"""Reads blobs, trees and files of an opened repository."""
